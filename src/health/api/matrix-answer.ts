import { createHash } from 'node:crypto';
import type { HealthMatrix, HealthMatrixNode } from '../../api/schema.ts';
import { PROBE_KINDS } from '../../model/health.ts';
import type { PackedMatrix } from '../mesh/index.ts';
import { timeText } from './answers.ts';

/** Numbers of one cell, in this order. */
const CELL_FIELDS = ['peer', 'states-4', 'states-6', 'rtt-ns', 'sent', 'lost'];

/** Changes with the names and their order: what the indices of packed rows mean. */
function nodesId(view: PackedMatrix): string {
  const hash = createHash('sha256');
  for (const { name } of view.nodes) hash.update(`${name}\n`);
  return hash.digest('hex').slice(0, 16);
}

/** @param only index of the one peer whose cell is wanted; undefined: all */
function packed(view: PackedMatrix, node: string, only: number | undefined): number[] {
  const numbers: number[] = [];
  view.eachCell(node, ({ peer, states4, states6, rttNs, sent, lost }) => {
    if (only !== undefined && peer !== only) return;
    numbers.push(peer, states4 >>> 0, states6 >>> 0, Math.round(rttNs), sent, lost);
  });
  return numbers;
}

type Node = PackedMatrix['nodes'][number];

function rowAnswer(view: PackedMatrix, { name, zone }: Node, only: number | undefined): HealthMatrixNode {
  const named = { name, ...(zone === undefined ? {} : { zone }) };
  const row = view.row(name);
  if (row === undefined) return named;
  const ageMs = view.ageMs(name);
  return {
    ...named,
    ...(ageMs === undefined ? {} : { 'age-ms': Math.round(ageMs) }),
    at: timeText(row.atMs),
    incarnation: row.incarnation,
    version: row.version,
    cells: packed(view, name, only),
  };
}

/** All rows; with `node` the cells from and to that node only. */
export function matrixAnswer(view: PackedMatrix, wallMs: number, node?: string): HealthMatrix {
  const only = node === undefined ? undefined : view.nodes.findIndex(({ name }) => name === node);
  return {
    self: view.self,
    at: timeText(wallMs),
    kinds: PROBE_KINDS.map(({ name }) => name),
    'cell-fields': CELL_FIELDS,
    'nodes-id': nodesId(view),
    nodes: view.nodes.map((each) => rowAnswer(view, each, each.name === node ? undefined : only)),
  };
}
