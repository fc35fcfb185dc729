import { byId, setText } from './dom.ts';
import type { Theme } from './palette.ts';

const CHOICES = ['system', 'light', 'dark'] as const;
type Choice = (typeof CHOICES)[number];
const KEY = 'ciliate-theme';

function stored(): Choice {
  try {
    const text = localStorage.getItem(KEY);
    return CHOICES.find((choice) => choice === text) ?? 'system';
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
    return 'system';
  }
}

function store(choice: Choice): void {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // As above.
  }
}

/** The button that switches between the system's colours, light and dark. @returns the theme at first */
export function followTheme(onTheme: (theme: Theme) => void): Theme {
  const control = byId('theme', HTMLButtonElement);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let choice = stored();
  const theme = (): Theme => (choice === 'system' ? (dark.matches ? 'dark' : 'light') : choice);
  const show = (): void => {
    if (choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    setText(control, `Colours: ${choice}`);
  };
  control.addEventListener('click', () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length] ?? 'system';
    store(choice);
    show();
    onTheme(theme());
  });
  dark.addEventListener('change', () => onTheme(theme()));
  show();
  return theme();
}
