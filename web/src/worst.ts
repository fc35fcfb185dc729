import { CellCodes } from '../../src/model/packed-rows.ts';
import { button, byId, table } from './dom.ts';
import { latencyText, lossText } from './format.ts';
import { CODE_WORDS, type MatrixStore } from './matrix-store.ts';
import { severity } from './order.ts';

const SHOWN = 8;
/** Weight of a second of round trip: between cells that are alike else, the slower is the worse. */
const SECOND_NS = 1e9;

interface Ranked {
  readonly place: number;
  readonly score: number;
}

/** The places with the greatest scores, the greatest first. */
export function greatest(count: number, score: (place: number) => number): readonly number[] {
  const best: Ranked[] = [];
  let least = 0;
  for (let place = 0; place < count; place++) {
    const value = score(place);
    if (value <= least) continue;
    const at = best.findIndex((other) => value > other.score);
    best.splice(at < 0 ? best.length : at, 0, { place, score: value });
    if (best.length > SHOWN) best.pop();
    if (best.length === SHOWN) least = best[SHOWN - 1]?.score ?? 0;
  }
  return best.map(({ place }) => place);
}

/** The worst pairs of the matrix. */
export function worstPairs({ size, code, sent, lost, rttNs }: MatrixStore): readonly number[] {
  return greatest(size * size, (place) => {
    const state = code[place] ?? 0;
    if (state <= CellCodes.unknown) return 0;
    return (
      severity(state, sent[place] ?? 0, lost[place] ?? 0) + Math.min(1, (rttNs[place] ?? 0) / SECOND_NS) / 2
    );
  });
}

interface NodeSums {
  readonly node: number;
  /** Pairs that are degraded or worse, from it and to it. */
  readonly out: number;
  readonly into: number;
  readonly sent: number;
  readonly lost: number;
}

/** What each node's row and column come to. */
export function nodeSums(store: MatrixStore): readonly NodeSums[] {
  const { size } = store;
  const sums = Array.from({ length: size }, (_, node) => ({ node, out: 0, into: 0, sent: 0, lost: 0 }));
  for (let from = 0, at = 0; from < size; from++) {
    for (let to = 0; to < size; to++, at++) {
      const [row, column] = [sums[from], sums[to]];
      if (row === undefined || column === undefined) continue;
      if ((store.code[at] ?? 0) >= CellCodes.degraded) {
        row.out++;
        column.into++;
      }
      column.sent += store.sent[at] ?? 0;
      column.lost += store.lost[at] ?? 0;
    }
  }
  return sums;
}

function worstNodes(store: MatrixStore): readonly NodeSums[] {
  const sums = nodeSums(store);
  const score = ({ out, into, sent, lost }: NodeSums): number => out + into + (sent === 0 ? 0 : lost / sent);
  return greatest(store.size, (node) => {
    const sum = sums[node];
    return sum === undefined ? 0 : score(sum);
  }).flatMap((node) => sums[node] ?? []);
}

/** Shows the worst nodes and pairs. */
export function showWorst(store: MatrixStore, open: (from: number, to: number) => void): void {
  const nodes = worstNodes(store).map(({ node, out, into, sent, lost }) => [
    store.name(node),
    store.nodes[node]?.zone ?? '-',
    String(into),
    String(out),
    lossText(sent, lost),
  ]);
  const nodeColumns = [
    { title: 'Node' },
    { title: 'Zone' },
    { title: 'Faults to it', numeric: true },
    { title: 'from it', numeric: true },
    { title: 'Loss', numeric: true },
  ];
  const pairs = worstPairs(store).map((place) => {
    const [from, to] = [Math.floor(place / store.size), place % store.size];
    const { code, rttNs, sent, lost } = store.cell(from, to);
    const name = `${store.name(from)} to ${store.name(to)}`;
    return [
      button(name, () => open(from, to), { class: 'link' }),
      CODE_WORDS[code] ?? '',
      latencyText(rttNs),
      lossText(sent, lost),
    ];
  });
  const pairColumns = [
    { title: 'Pair' },
    { title: 'State' },
    { title: 'RTT', numeric: true },
    { title: 'Loss', numeric: true },
  ];
  replaceKeepingFocus(
    byId('worst-nodes', HTMLDivElement),
    nodes.length === 0 ? undefined : table('Worst nodes', nodeColumns, nodes),
  );
  replaceKeepingFocus(
    byId('worst-pairs', HTMLDivElement),
    pairs.length === 0 ? undefined : table('Worst pairs', pairColumns, pairs),
  );
}

/** Replaces what is in a box; whoever stood on a button in it stands on the same one again. */
function replaceKeepingFocus(box: HTMLElement, content: HTMLElement | undefined): void {
  const at = [...box.querySelectorAll('button')].findIndex((one) => one.matches(':focus'));
  box.replaceChildren(content ?? 'nothing was measured yet');
  if (at >= 0) box.querySelectorAll('button')[at]?.focus({ preventScroll: true });
}
