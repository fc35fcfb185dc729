import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { observedPeers } from '../../src/health/plan/observers.ts';

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `node-${i}`);

describe('observers of a cluster too large for a full mesh', () => {
  it('give every node k watchers, or little less where rings have a pair in common', () => {
    const nodes = names(300);
    const watchers = new Map<string, number>();
    for (const self of nodes) {
      const peers = observedPeers(self, nodes, 20);
      assert.ok(peers.size >= 17 && peers.size <= 20 && !peers.has(self), String(peers.size));
      for (const peer of peers) watchers.set(peer, (watchers.get(peer) ?? 0) + 1);
    }
    const counts = nodes.map((name) => watchers.get(name) ?? 0);
    assert.ok(Math.min(...counts) >= 15 && Math.max(...counts) <= 20);
  });

  it('change by two pairs a ring when a node comes', () => {
    const [before, after] = [names(100), names(101)];
    let changed = 0;
    for (const self of before) {
      const [was, is] = [observedPeers(self, before, 20), observedPeers(self, after, 20)];
      changed += [...is].filter((peer) => !was.has(peer)).length;
    }
    assert.ok(changed > 0 && changed <= 20, String(changed));
  });

  it('are all others in a small cluster, and nobody for a node alone', () => {
    assert.deepEqual([...observedPeers('node-0', names(3), 20)].sort(), ['node-1', 'node-2']);
    assert.equal(observedPeers('node-0', names(1), 20).size, 0);
  });
});
