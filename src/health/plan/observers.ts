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
  const others = nodes.filter((name) => name !== self);
  if (others.length <= k) return new Set(others);
  const digests = Uint32Array.from(others, digest);
  const own = digest(self);
  const peers = new Set<string>();
  for (let ring = 0; ring < k; ring++) {
    const next = successor(place(ring, own), digests, ring);
    peers.add(others[next] ?? '');
  }
  return peers;
}

/** Index of the node with the next greater place in the ring; after the last, the first. */
function successor(own: number, digests: Uint32Array, ring: number): number {
  let [best, bestDistance] = [0, Number.POSITIVE_INFINITY];
  for (let i = 0; i < digests.length; i++) {
    const distance = (place(ring, digests[i] ?? 0) - own) >>> 0;
    if (distance >= bestDistance) continue;
    best = i;
    bestDistance = distance;
  }
  return best;
}

/** FNV-1a of the name's UTF-16 units. */
function digest(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** A permutation of the digests, another one for each ring: the finaliser of MurmurHash3 (Appleby 2011). */
function place(ring: number, name: number): number {
  let hash = name ^ Math.imul(ring + 1, 0x9e3779b9);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
