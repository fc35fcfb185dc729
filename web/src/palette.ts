import { CellCodes } from '../../src/model/packed-rows.ts';

export const MODES = ['state', 'rtt', 'loss'] as const;
export type Mode = (typeof MODES)[number];
export type Theme = 'light' | 'dark';

/** `#rrggbb`. */
type Colour = string;

/** Steps of the scales of round trip and loss. */
const STEPS = 16;
/** Shades: what is drawn for a cell; a greater one is worse, so that the worst of many cells is their greatest. */
const FIRST_STEP = 2;
const UNREACHABLE = FIRST_STEP + STEPS;
export const SHADES = UNREACHABLE + 1;

/** 10 us and 1 s: the ends of the scale of round trips, ns. */
const RTT_LEAST_NS = 1e4;
const RTT_MOST_NS = 1e9;

/** What cells look like on a background. States differ in lightness too, for those who see no difference in hue. */
const COLOURS: Readonly<Record<Theme, Readonly<Record<string, Colour>>>> = {
  light: {
    none: '#eef0f3',
    unknown: '#b9c0c9',
    reachable: '#8fd0b9',
    degraded: '#e08a00',
    unreachable: '#a30d45',
    low: '#d5efe6',
    middle: '#5b9bd5',
    high: '#2b1e72',
    lossLow: '#fbe2b0',
    lossHigh: '#c2410c',
  },
  dark: {
    none: '#1a2028',
    unknown: '#4d5763',
    reachable: '#1f6d58',
    degraded: '#f0a63a',
    unreachable: '#ff5d8f',
    low: '#12413a',
    middle: '#3f8fd0',
    high: '#e2d5ff',
    lossLow: '#6b4a10',
    lossHigh: '#ffb27a',
  },
};

/** What cells look like that were not lost, not slow: for marks on top of them. */
export function colourOf(
  theme: Theme,
  name: 'none' | 'unknown' | 'reachable' | 'degraded' | 'unreachable',
): Colour {
  return COLOURS[theme][name] ?? '#808080';
}

function channels(colour: Colour): [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function mixed(from: Colour, to: Colour, share: number): Colour {
  const [a, b] = [channels(from), channels(to)];
  const parts = a.map((value, i) => Math.round(value + ((b[i] ?? 0) - value) * share));
  return `#${parts.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
}

function scale(theme: Theme, mode: Mode, share: number): Colour {
  const { low = '', middle = '', high = '', reachable = '', lossLow = '', lossHigh = '' } = COLOURS[theme];
  if (mode === 'loss') return share === 0 ? reachable : mixed(lossLow, lossHigh, share);
  return share < 0.5 ? mixed(low, middle, 2 * share) : mixed(middle, high, 2 * share - 1);
}

/** The colour of each shade. */
export function shadeColours(theme: Theme, mode: Mode): readonly Colour[] {
  const colours = Array.from({ length: SHADES }, (_, shade) =>
    scale(theme, mode, (shade - FIRST_STEP) / (STEPS - 1)),
  );
  colours[0] = colourOf(theme, 'none');
  colours[1] = colourOf(theme, 'unknown');
  if (mode === 'state') {
    colours[FIRST_STEP] = colourOf(theme, 'reachable');
    colours[FIRST_STEP + 1] = colourOf(theme, 'degraded');
  }
  colours[UNREACHABLE] = colourOf(theme, 'unreachable');
  return colours;
}

/** The same as pixels of a canvas: 0xAABBGGRR. */
export function shadePixels(theme: Theme, mode: Mode): Uint32Array {
  return Uint32Array.from(shadeColours(theme, mode), (colour) => {
    const [red, green, blue] = channels(colour);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

function rttStep(rttNs: number): number {
  const share = Math.log(rttNs / RTT_LEAST_NS) / Math.log(RTT_MOST_NS / RTT_LEAST_NS);
  return Math.max(0, Math.min(STEPS - 1, Math.round(share * (STEPS - 1))));
}

/** None is step 0 alone; 100 % is the last, 0.1 % the first. */
function lossStep(sent: number, lost: number): number {
  if (lost === 0 || sent === 0) return 0;
  const share = 1 + Math.log10(Math.max(0.001, lost / sent)) / 3;
  return 1 + Math.max(0, Math.min(STEPS - 2, Math.round(share * (STEPS - 2))));
}

/** The shade of a cell. */
export function shadeOf(mode: Mode, code: number, rttNs: number, sent: number, lost: number): number {
  if (code <= CellCodes.unknown) return code;
  if (code === CellCodes.unreachable) return UNREACHABLE;
  if (mode === 'state') return code === CellCodes.degraded ? FIRST_STEP + 1 : FIRST_STEP;
  if (mode === 'loss') return FIRST_STEP + lossStep(sent, lost);
  return rttNs === 0 ? 1 : FIRST_STEP + rttStep(rttNs);
}

/** What the legend shows: a text beside a shade. */
export function legend(mode: Mode): readonly { readonly shade: number; readonly text: string }[] {
  const ends = [
    { shade: 0, text: 'not observed' },
    { shade: 1, text: 'unknown' },
  ];
  const last = { shade: UNREACHABLE, text: 'unreachable' };
  if (mode === 'state') {
    return [
      ...ends,
      { shade: FIRST_STEP, text: 'reachable' },
      { shade: FIRST_STEP + 1, text: 'degraded' },
      last,
    ];
  }
  const marks: readonly [number, string][] =
    mode === 'rtt'
      ? [
          [1e4, '10 µs'],
          [1e5, '100 µs'],
          [1e6, '1 ms'],
          [1e7, '10 ms'],
          [1e8, '100 ms'],
          [1e9, '1 s'],
        ]
      : [
          [0, '0 %'],
          [0.001, '0.1 %'],
          [0.01, '1 %'],
          [0.1, '10 %'],
          [1, '100 %'],
        ];
  const scaleMarks = marks.map(([value, text]) => ({
    shade: FIRST_STEP + (mode === 'rtt' ? rttStep(value) : lossStep(1, value)),
    text,
  }));
  return [...ends, ...scaleMarks, last];
}
