import { ask, type ChangesAnswer, type DiagnosisAnswer } from './answers.ts';
import { byId, html, setText } from './dom.ts';
import { countText, spanText, timeText } from './format.ts';
import { Live, type LiveState } from './live.ts';
import { MatrixGrid } from './matrix-grid.ts';
import { CODE_WORDS, MatrixStore } from './matrix-store.ts';
import { ORDERS } from './order.ts';
import { changeText, PairPanel } from './pair.ts';
import { legend, MODES, type Mode, shadeColours, type Theme } from './palette.ts';
import { followTheme } from './theme.ts';
import { showDiagnosis } from './verdicts.ts';
import { showWorst } from './worst.ts';

/** What is counted over all cells is counted so often at most. */
const SUMMARY_MS = 1000;
/** The order follows the faults so often, while nobody is at the matrix. */
const REORDER_MS = 5000;
const CHANGES_KEPT = 100;

class Page {
  readonly #changes = byId('changes', HTMLOListElement);
  readonly #live = byId('live', HTMLParagraphElement);
  readonly #grid: MatrixGrid;
  readonly #pair: PairPanel;
  #store: MatrixStore | undefined;
  #mode: Mode = 'state';
  #theme: Theme;
  #summaryMs = Number.NEGATIVE_INFINITY;
  #summaryTimer: ReturnType<typeof setTimeout> | undefined;
  #reorderedMs = 0;
  #painted = false;

  constructor() {
    this.#theme = followTheme((theme) => this.#setTheme(theme));
    this.#pair = new PairPanel(() => this.#store);
    this.#grid = new MatrixGrid(this.#theme, {
      open: (from, to) => this.#open(this.#store?.name(from) ?? '', this.#store?.name(to) ?? ''),
    });
    this.#grid.onDraw = (tookMs) => this.#drawn(tookMs);
    this.#addControls();
    this.#showLegend();
    const live = new Live({
      matrix: (message) => this.#begin(new MatrixStore(message, () => performance.now())),
      rows: (message) => {
        performance.mark('rows');
        this.#grid.update(this.#store?.apply(message));
        this.#summarise();
      },
      diagnosis: (answer) => this.#showDiagnosis(answer as DiagnosisAnswer),
      changes: (answer) => this.#addChanges(answer as ChangesAnswer),
      state: (state, heardMs) => this.#showState(state, heardMs),
    });
    live.start();
    void this.#takeHistory();
  }

  #addControls(): void {
    const mode = byId('mode', HTMLSelectElement);
    mode.addEventListener('change', () => {
      this.#mode = MODES.find((name) => name === mode.value) ?? 'state';
      this.#grid.setMode(this.#mode);
      this.#showLegend();
    });
    const order = byId('order', HTMLSelectElement);
    order.addEventListener('change', () => this.#grid.reorder(ORDERS.find((name) => name === order.value)));
    const zooms: readonly [string, number][] = [
      ['zoom-out', -1],
      ['zoom-fit', 0],
      ['zoom-in', 1],
    ];
    for (const [id, steps] of zooms) {
      byId(id, HTMLButtonElement).addEventListener('click', () => this.#grid.zoom(steps));
    }
  }

  #setTheme(theme: Theme): void {
    this.#theme = theme;
    this.#grid.setTheme(theme);
    this.#showLegend();
  }

  #showLegend(): void {
    const colours = shadeColours(this.#theme, this.#mode);
    const items = legend(this.#mode).map(({ shade, text }) => {
      const canvas = html('canvas', { width: 1, height: 1, 'aria-hidden': true });
      const context = canvas.getContext('2d');
      if (context !== null) {
        context.fillStyle = colours[shade] ?? '';
        context.fillRect(0, 0, 1, 1);
      }
      return html('li', {}, canvas, text);
    });
    byId('legend', HTMLUListElement).replaceChildren(...items);
  }

  #begin(store: MatrixStore): void {
    this.#store = store;
    this.#grid.show(store);
    const shown = store.total > store.size ? ` (the ${store.size} worst are shown)` : '';
    setText(
      byId('self', HTMLParagraphElement),
      `seen from ${store.self}, ${countText(store.total, 'node')}${shown}`,
    );
    document.title = `Ciliate health: ${store.self}`;
    const options = store.nodes.map(({ name }) => html('option', { value: name }));
    byId('nodes', HTMLDataListElement).replaceChildren(...options);
    this.#summarise();
  }

  #drawn(tookMs: number): void {
    if (this.#painted) {
      performance.measure('draw', { start: performance.now() - tookMs, duration: tookMs });
      return;
    }
    this.#painted = true;
    performance.mark('matrix-painted');
    document.documentElement.dataset.painted = '';
  }

  /** Counts and the worst, at most once a second, and not in the way of the picture. */
  #summarise(): void {
    if (this.#summaryTimer !== undefined) return;
    const waitMs = Math.max(30, this.#summaryMs + SUMMARY_MS - performance.now());
    this.#summaryTimer = setTimeout(() => {
      this.#summaryTimer = undefined;
      this.#summaryMs = performance.now();
      const store = this.#store;
      if (store === undefined) return;
      this.#showCounts(store);
      showWorst(store, (from, to) => {
        this.#grid.choose(from, to);
        this.#open(store.name(from), store.name(to));
      });
      if (this.#summaryMs - this.#reorderedMs > REORDER_MS && this.#grid.isIdle) {
        this.#reorderedMs = this.#summaryMs;
        this.#grid.reorder();
      }
    }, waitMs);
  }

  #showCounts(store: MatrixStore): void {
    const counts = store.counts();
    const shown = [4, 3, 2, 1, 0].map((code) =>
      html(
        'div',
        {},
        html('dt', {}, CODE_WORDS[code]),
        html('dd', {}, (counts[code] ?? 0).toLocaleString('en')),
      ),
    );
    byId('counts', HTMLDListElement).replaceChildren(...shown);
  }

  #showDiagnosis(answer: DiagnosisAnswer | undefined): void {
    showDiagnosis(answer, (from, to) => this.#open(from, to));
  }

  #open(from: string, to: string): void {
    const [row, column] = [this.#store?.indexOf(from), this.#store?.indexOf(to)];
    if (row !== undefined && column !== undefined) this.#grid.choose(row, column);
    this.#pair.open(from, to);
  }

  #showState(state: LiveState, heardMs: number | undefined): void {
    const texts: Readonly<Record<LiveState, string>> = {
      live: 'live',
      connecting: 'connecting',
      stale: `stale: nothing heard for ${spanText(heardMs ?? 0)}, since ${timeText(Date.now() - (heardMs ?? 0))}`,
    };
    this.#live.dataset.state = state;
    setText(this.#live, texts[state]);
    document.body.classList.toggle('stale', state === 'stale');
  }

  async #takeHistory(): Promise<void> {
    try {
      this.#addChanges(await ask<ChangesAnswer>('history'));
    } catch {
      // The stream of events says what is wrong with the agent.
    }
  }

  #addChanges({ changes, 'left-out': leftOut = 0 }: ChangesAnswer): void {
    if (changes.length === 0) return;
    if (this.#changes.querySelector('.muted') !== null) this.#changes.replaceChildren();
    const items = changes
      .slice(-CHANGES_KEPT)
      .map((change) => html('li', { class: `state-${change.to}` }, changeText(change)));
    if (leftOut > 0) items.push(html('li', {}, `and ${countText(leftOut, 'more change')}`));
    this.#changes.prepend(...items.reverse());
    while (this.#changes.childElementCount > CHANGES_KEPT) this.#changes.lastElementChild?.remove();
  }
}

new Page();
