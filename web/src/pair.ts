import {
  ask,
  type ChangeAnswer,
  type ChangesAnswer,
  lossPointText,
  type PairAnswer,
  type PathAnswer,
  type SeriesAnswer,
} from './answers.ts';
import { cellText } from './cell-text.ts';
import { chart } from './chart.ts';
import { button, byId, type Child, html, table } from './dom.ts';
import { latencyText, lossText, spanText, timeText } from './format.ts';
import type { MatrixStore } from './matrix-store.ts';

const REFRESH_MS = 5000;
const CHANGES_SHOWN = 20;

const SOURCES: Readonly<Record<PairAnswer['source'], string>> = {
  self: 'measured by this node',
  asked: 'as the other node tells it',
  row: 'the other node could not be asked: its last row is all that is known',
  none: 'nothing is known of this pair here',
};

/** Looks at one pair of nodes: all paths both ways, with their times over the last hour. */
export class PairPanel {
  readonly #box = byId('pair', HTMLDivElement);
  readonly #title = byId('pair-title', HTMLHeadingElement);
  readonly #from = byId('pair-from', HTMLInputElement);
  readonly #to = byId('pair-to', HTMLInputElement);
  readonly #store: () => MatrixStore | undefined;
  #names: readonly [string, string] | undefined;
  /** Path of which the series is shown: kind and address. */
  #charted: string | undefined;
  #asking: AbortController | undefined;

  constructor(store: () => MatrixStore | undefined) {
    this.#store = store;
    byId('pair-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      this.open(this.#from.value.trim(), this.#to.value.trim());
    });
    byId('pair-swap', HTMLButtonElement).addEventListener('click', () =>
      this.open(this.#to.value.trim(), this.#from.value.trim()),
    );
    setInterval(() => void this.#refresh(), REFRESH_MS);
  }

  /** Shows a pair and goes there. */
  open(from: string, to: string, focus = true): void {
    this.#from.value = from;
    this.#to.value = to;
    this.#names = [from, to];
    this.#charted = undefined;
    this.#box.replaceChildren(html('p', { class: 'muted' }, 'asking'));
    if (focus) {
      this.#title.focus({ preventScroll: true });
      const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
      this.#title.scrollIntoView({ block: 'nearest', behavior: still ? 'auto' : 'smooth' });
    }
    void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const names = this.#names;
    if (names === undefined || document.hidden) return;
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      const content = await this.#content(names, asking.signal);
      if (this.#asking === asking) this.#replace(content);
    } catch (error) {
      if (this.#asking !== asking) return;
      const text = error instanceof Error ? error.message : String(error);
      this.#replace([html('p', { class: 'state-unreachable' }, text)]);
    }
  }

  /** Keeps the reader's place: who stood on a button stands on the same one again. */
  #replace(content: readonly Child[]): void {
    const buttons = (): HTMLButtonElement[] => [...this.#box.querySelectorAll('button')];
    const at = buttons().findIndex((one) => one.matches(':focus'));
    this.#box.replaceChildren(...content.filter((child) => child !== undefined));
    if (at >= 0) buttons()[at]?.focus({ preventScroll: true });
  }

  async #content([from, to]: readonly [string, string], signal: AbortSignal): Promise<Child[]> {
    const query = (a: string, b: string): string =>
      `pair?from=${encodeURIComponent(a)}&to=${encodeURIComponent(b)}`;
    const [there, back] = await Promise.all([
      ask<PairAnswer>(query(from, to), signal),
      ask<PairAnswer>(query(to, from), signal),
    ]);
    const self = this.#store()?.self;
    const peer = from === self ? to : to === self ? from : undefined;
    const [series, history] =
      peer === undefined
        ? [undefined, undefined]
        : await Promise.all([
            ask<SeriesAnswer>(`series?peer=${encodeURIComponent(peer)}`, signal),
            ask<ChangesAnswer>('history', signal),
          ]);
    const changes = history?.changes.filter((change) => change.peer === peer) ?? [];
    return [
      ...this.#direction(there),
      series === undefined ? undefined : this.#chart(series),
      ...this.#direction(back),
      ...(peer === undefined ? [] : changesPart(changes)),
    ];
  }

  #direction(answer: PairAnswer): Child[] {
    const { from, to, source, reason } = answer;
    const store = this.#store();
    const [row, column] = [store?.indexOf(from), store?.indexOf(to)];
    const known = store !== undefined && row !== undefined && column !== undefined;
    return [
      html('h3', {}, `${from} to ${to}`),
      html('p', {}, known ? cellText(store, row, column) : 'not in the matrix'),
      html(
        'p',
        { class: 'muted' },
        reason === undefined ? SOURCES[source] : `${SOURCES[source]} (${reason})`,
      ),
      (answer.paths ?? []).length === 0
        ? undefined
        : html('div', { class: 'scroll' }, this.#pathTable(answer)),
    ];
  }

  #pathTable({ from, to, paths, source }: PairAnswer): HTMLTableElement {
    const columns = [
      { title: 'Path' },
      { title: 'Address' },
      { title: 'State' },
      { title: 'Median', numeric: true },
      { title: '99 %', numeric: true },
      { title: 'Loss', numeric: true },
      { title: 'Split' },
      { title: 'MTU', numeric: true },
      { title: 'Over time' },
    ];
    const rows = (paths ?? []).map((path) => [
      path.kind,
      path.address,
      stateText(path),
      latencyText(path.window['rtt-ns']?.p50),
      latencyText(path.window['rtt-ns']?.p99),
      lossText(path.window.sent, path.window.sent - path.window.answered),
      splitOf(path),
      mtuText(path),
      source === 'self' ? this.#chartButton(path) : undefined,
    ]);
    return table(`Paths from ${from} to ${to}`, columns, rows);
  }

  #chartButton({ kind, address }: PathAnswer): HTMLButtonElement {
    const key = `${kind} ${address}`;
    const act = (): void => {
      this.#charted = key;
      void this.#refresh();
    };
    return button('Chart', act, { class: 'small', 'aria-label': `Chart of ${key}` });
  }

  #chart(series: SeriesAnswer): HTMLElement {
    const { paths } = series;
    const path = paths.find(({ kind, address }) => `${kind} ${address}` === this.#charted) ?? paths[0];
    if (path === undefined)
      return html('p', { class: 'muted' }, 'The hour begins now: nothing was recorded yet.');
    const name = `${path.kind} ${path.address}`;
    const shown = {
      stepMs: series['step-ms'],
      endMs: series['end-ms'],
      p50Ns: path['p50-ns'],
      p99Ns: path['p99-ns'],
      loss: path.loss,
    };
    return html(
      'figure',
      {},
      chart(name, shown),
      html(
        'figcaption',
        { class: 'muted' },
        `${name}: median (line), 99th percentile (dashes), loss (bars), the last hour`,
      ),
    );
  }
}

function stateText(path: PathAnswer): HTMLElement {
  const { state, reason, since, expects } = path;
  const lost = lossPointText(path['loss-point']);
  return html(
    'div',
    {},
    html(
      'span',
      { class: `state-${state}` },
      expects === 'silence' && state === 'reachable' ? 'denied, as it should be' : state,
    ),
    html('div', { class: 'muted' }, `for ${spanText(Date.now() - Date.parse(since))}`),
    reason === undefined ? undefined : html('div', {}, reason),
    lost === '' ? undefined : html('div', {}, lost),
  );
}

/** Where the time goes: between network and responder, or between the parts of an HTTP request. */
function splitOf(path: PathAnswer): Child {
  const parts = splitParts(path).filter(([, ns]) => ns > 0);
  const total = parts.reduce((sum, [, ns]) => sum + ns, 0);
  if (parts.length === 0 || total === 0) return '-';
  const bar = html('div', { class: 'split', 'aria-hidden': true });
  for (const [, ns] of parts) {
    const part = html('span');
    part.style.width = `${(100 * ns) / total}%`;
    bar.append(part);
  }
  const text = parts.map(([name, ns]) => `${name} ${latencyText(ns)}`).join(', ');
  return html('div', {}, bar, html('div', { class: 'muted' }, text));
}

function splitParts(path: PathAnswer): readonly (readonly [string, number])[] {
  const phases = path['phases-ns'];
  if (phases !== undefined) {
    const { network = 0, connect = 0, firstByte = 0, total = 0, ...others } = phases;
    const rest = Object.entries(others).filter(([name]) => name !== 'tls');
    if (rest.length > 0) return [['network', network], ...rest];
    return [
      ['network', network],
      ['connecting', Math.max(0, connect - network)],
      ['server', Math.max(0, firstByte - connect)],
      ['reading', Math.max(0, total - Math.max(firstByte, connect))],
    ];
  }
  const [rtt, residence] = [path.window['rtt-ns']?.p50, path.window['residence-ns']];
  if (rtt === undefined || residence === undefined) return [];
  return [
    ['network', Math.max(0, rtt - residence)],
    ['peer', residence],
  ];
}

function mtuText(path: PathAnswer): string {
  const mtu = path['path-mtu'];
  if (path['black-hole']) return mtu === undefined ? 'black hole' : `${mtu}, black hole above`;
  return mtu === undefined ? '-' : String(mtu);
}

/** One change of a path in a line. */
export function changeText({ peer, kind, address, from, to, at, reason }: ChangeAnswer): string {
  return `${timeText(Date.parse(at))} ${peer} ${kind} ${address}: ${from} → ${to}${reason === undefined ? '' : `, ${reason}`}`;
}

function changesPart(changes: readonly ChangeAnswer[]): Child[] {
  const shown = changes.slice(-CHANGES_SHOWN).reverse();
  if (shown.length === 0) return [];
  const items = shown.map((change) => html('li', { class: `state-${change.to}` }, changeText(change)));
  return [html('h3', {}, 'Changes'), html('ol', { class: 'plain' }, ...items)];
}
