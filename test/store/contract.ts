import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Label } from '../../src/model/labels.ts';
import type { ClusterNode } from '../../src/model/node.ts';
import type { Store, StoreChange } from '../../src/store/types.ts';

/** Two clients of one backend, so that what one writes can be seen by the other. */
export interface StorePair {
  readonly first: Store;
  readonly second: Store;
  dispose(): Promise<void>;
}

export function label(text: string): Label {
  const [, source = '', key = '', value = ''] = /^([^:]+):([^=]+)=?(.*)$/.exec(text) ?? [];
  return { source, key, value };
}

export function node(name: string, ipv4: string): ClusterNode {
  return {
    name,
    ipv4,
    ipv6: undefined,
    ipv4AllocRange: '10.0.0.0/24',
    ipv6AllocRange: undefined,
    ipv4HealthIp: undefined,
    ipv6HealthIp: undefined,
  };
}

/** Collects what a watch tells, and waits for a state of it without sleeping through a fixed time. */
export class Collector {
  readonly changes: StoreChange[] = [];
  initial = 0;
  #wake: (() => void)[] = [];

  readonly listener = (changes: readonly StoreChange[], initial: boolean): void => {
    this.changes.push(...changes);
    if (initial) this.initial++;
    for (const wake of this.#wake.splice(0)) wake();
  };

  async until(condition: (changes: readonly StoreChange[]) => boolean, timeoutMs = 10_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition(this.changes)) {
      if (performance.now() > deadline) assert.fail(`not told in time: ${JSON.stringify(this.changes)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}

const ip = (cidr: string, identity: number, nodeName: string) => ({
  cidr,
  identity,
  node: nodeName,
  hostIp: '192.0.2.1',
});

/** What every backend of `Store` promises. */
export function describeStore(name: string, make: () => Promise<StorePair>): void {
  describe(`store contract: ${name}`, () => {
    let pair: StorePair;
    before(async () => {
      pair = await make();
    });
    after(() => pair.dispose());

    it('gives one number to one label set, whatever its order and whoever asks', async () => {
      const a = [label('k8s:app=a'), label('k8s:zone=z')];
      const [one, two] = await Promise.all([
        pair.first.allocateIdentity(a),
        pair.second.allocateIdentity([...a].reverse()),
      ]);
      assert.equal(one.id, two.id);
      assert.ok(one.id >= 256 && one.id <= 65535, `out of range: ${one.id}`);
      assert.deepEqual(two.labels, a);
    });

    it('keeps label sets apart that would look alike when joined', async () => {
      const one = await pair.first.allocateIdentity([label('k8s:a=b'), label('k8s:c=d')]);
      const two = await pair.first.allocateIdentity([label('k8s:a=b'), label('unspec:c=d')]);
      assert.notEqual(one.id, two.id);
    });

    it('finds an identity that the other client allocated', async () => {
      const made = await pair.first.allocateIdentity([label('k8s:app=found')]);
      const collector = new Collector();
      const stop = await pair.second.watch(collector.listener);
      await collector.until((changes) =>
        changes.some((change) => change.kind === 'identity-upsert' && change.identity.id === made.id),
      );
      stop();
      assert.deepEqual(await pair.second.getIdentity(made.id), made);
      assert.equal(await pair.second.getIdentity(255), undefined);
    });

    it('tells the present state first, then each change of nodes and addresses', async () => {
      await pair.first.putNode(node('n1', '192.0.2.1'));
      await pair.first.putIps([ip('10.0.0.1/32', 300, 'n1')]);
      const collector = new Collector();
      const stop = await pair.first.watch(collector.listener);
      assert.equal(collector.initial, 1);
      assert.ok(
        collector.changes.some((change) => change.kind === 'node-upsert' && change.node.name === 'n1'),
      );
      await pair.second.putIps([ip('10.0.0.2/32', 301, 'n2')]);
      await pair.second.deleteIps(['10.0.0.2/32'], 'n2');
      await pair.second.deleteNode('n1');
      await collector.until((changes) => changes.some((change) => change.kind === 'node-delete'));
      const kinds = collector.changes.map((change) => change.kind);
      assert.ok(kinds.includes('ip-delete'), kinds.join());
      stop();
    });

    it('replaces the addresses of one node as a set and leaves those of others alone', async () => {
      await pair.first.putIps([ip('10.0.1.1/32', 300, 'r1'), ip('10.0.1.2/32', 300, 'r1')]);
      await pair.first.putIps([ip('10.0.2.1/32', 300, 'r2')]);
      await pair.first.replaceIps('r1', [ip('10.0.1.2/32', 300, 'r1'), ip('10.0.1.3/32', 302, 'r1')]);
      const held = (await pair.first.listIps()).filter((entry) => entry.node.startsWith('r'));
      assert.deepEqual(held.map((entry) => entry.cidr).sort(), ['10.0.1.2/32', '10.0.1.3/32', '10.0.2.1/32']);
    });

    it('stops telling a watcher that has ended its watch', async () => {
      const collector = new Collector();
      const stop = await pair.first.watch(collector.listener);
      stop();
      const told = collector.changes.length;
      await pair.first.putNode(node('late', '192.0.2.9'));
      assert.equal(collector.changes.length, told);
    });

    it('may be stopped twice, and refuses writes afterwards', async () => {
      await pair.second.stop();
      await pair.second.stop();
      await assert.rejects(pair.second.putNode(node('x', '192.0.2.3')), { code: 'STORE_UNAVAILABLE' });
    });
  });
}
