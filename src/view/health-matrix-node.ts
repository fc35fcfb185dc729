import type { HealthMatrix } from '../api/schema.ts';
import { type GridCell, HealthGrid } from './health-grid.ts';
import { matrixHead } from './health-matrix.ts';
import { shortMs, shortPercent } from './health-words.ts';
import { narrowText, tableWithin } from './narrow.ts';
import { printableField } from './printable.ts';
import { row } from './tabwriter.ts';
import type { ViewOptions } from './types.ts';

const WORST = ['unreachable', 'degraded', 'unknown', 'reachable'];

function cells(cell: GridCell | undefined): string[] {
  if (cell === undefined) return ['-', '', ''];
  const { state, rttNs, lossShare } = cell;
  return [
    state,
    rttNs === undefined ? '' : `${shortMs(rttNs)}`,
    lossShare === undefined ? '' : `${shortPercent(lossShare)}`,
  ];
}

function badness(cell: GridCell | undefined): number {
  if (cell === undefined) return WORST.length;
  return WORST.indexOf(cell.state) - (cell.lossShare ?? 0) / 2;
}

/** `health matrix --node NAME`: a line a peer, both ways, the worst first. Peers that are not probed either way are left out. */
export function matrixNodeText(matrix: HealthMatrix, name: string, options: ViewOptions = {}): string {
  const { width } = options;
  const grid = new HealthGrid(matrix);
  const self = grid.nodes.find((node) => node.name === name);
  if (self === undefined) return matrixHead(grid, width);
  const peers = grid.nodes
    .filter((node) => node !== self)
    .map((node) => ({
      name: node.name,
      out: grid.cell(self.index, node.index),
      into: grid.cell(node.index, self.index),
    }));
  const probed = peers.filter(({ out, into }) => out !== undefined || into !== undefined);
  const worst = probed.sort((a, b) => {
    const mark = (peer: typeof a): number => Math.min(badness(peer.out), badness(peer.into));
    return mark(a) - mark(b) || (a.name < b.name ? -1 : 1);
  });
  const shown = printableField(name);
  const head = row(['PEER', `FROM ${shown}`, 'RTT ms', 'LOSS %', `TO ${shown}`, 'RTT ms', 'LOSS %']);
  const lines = worst.map((peer) => row([peer.name, ...cells(peer.out), ...cells(peer.into)]));
  const table = tableWithin((options.noHeaders === true ? '' : head) + lines.join(''), width);
  const left = peers.length - probed.length;
  const more = left > 0 ? `${left} more are not probed by it, nor probe it\n` : '';
  return `${matrixHead(grid, width)}\n${table}${narrowText(more, width)}`;
}
