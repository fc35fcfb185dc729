import { createHash } from 'node:crypto';

/**
 * Who watches whom when not everybody can watch everybody. In steps:
 *
 * 1. there are `k` rings; each orders all nodes by a hash of ring and name;
 * 2. in each ring a node watches the one that follows it: it has one watcher and watches one;
 * 3. so every node has k watchers and watches k, but for the few pairs that several rings have in common.
 *
 * Every node works it out for itself from the node list. One that comes or goes changes two pairs a ring.
 */
export function observedPeers(self: string, nodes: readonly string[], k: number): ReadonlySet<string> {
  const peers = new Set<string>();
  for (let ring = 0; ring < k; ring++) {
    const next = successor(self, nodes, ring);
    if (next !== undefined) peers.add(next);
  }
  return peers;
}

/** The node with the next greater place in the ring; after the last, the first. */
function successor(self: string, nodes: readonly string[], ring: number): string | undefined {
  const own = place(ring, self);
  let next: { readonly name: string; readonly place: bigint } | undefined;
  let first: { readonly name: string; readonly place: bigint } | undefined;
  for (const name of nodes) {
    if (name === self) continue;
    const at = place(ring, name);
    if (first === undefined || at < first.place) first = { name, place: at };
    if (at > own && (next === undefined || at < next.place)) next = { name, place: at };
  }
  return (next ?? first)?.name;
}

function place(ring: number, name: string): bigint {
  return createHash('sha1').update(`${ring} ${name}`).digest().readBigUInt64BE(0);
}
