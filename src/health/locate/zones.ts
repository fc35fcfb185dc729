import type { MatrixView } from '../../model/health.ts';
import type { Zones } from './suspect.ts';

/** More zones than this are no structure to look for faults in. */
const ZONES_MAX = 64;

export interface ZoneIndex {
  /** Zone of each node as an index into `names`; undefined: zones are not known of all nodes, are one, or too many. */
  readonly ofNode: Zones;
  readonly names: readonly string[];
}

export function zonesOf(nodes: MatrixView['nodes']): ZoneIndex {
  const index = new Map<string, number>();
  const ofNode = new Uint16Array(nodes.length);
  for (const [i, { zone }] of nodes.entries()) {
    if (zone === undefined) return { ofNode: undefined, names: [] };
    const at = index.get(zone) ?? index.size;
    index.set(zone, at);
    ofNode[i] = at;
  }
  if (index.size < 2 || index.size > ZONES_MAX) return { ofNode: undefined, names: [] };
  return { ofNode, names: [...index.keys()] };
}
