import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Ipcache } from '../../src/agent/ipcache.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { silentLog } from '../../src/base/log.ts';
import type { ClusterNode } from '../../src/model/node.ts';

describe('Ipcache', () => {
  it('writes new entries before old ones go, removes nothing before it may, and tries again what failed', async () => {
    const calls: string[] = [];
    let fail = true;
    const held = [{ prefix: parseCidr('10.9.9.9/32'), identity: 999, tunnelEndpoint: undefined }];
    const cache = new Ipcache('n1', {
      datapath: {
        readIpcache: async () => held,
        upsertIpcache: async (entries) => {
          if (fail) throw new Error('busy');
          calls.push(...entries.map(({ identity }) => `+${identity}`));
        },
        deleteIpcache: async (prefixes) => void calls.push(...prefixes.map(() => '-')),
      },
      emit: () => undefined,
      log: silentLog,
      onDirty: () => undefined,
      mayName: () => true,
    });
    await cache.adopt();
    cache.setLocal('10.0.1.9/32', 300, undefined);
    await assert.rejects(cache.sync(), /busy/);
    fail = false;
    await cache.sync();
    assert.deepEqual(calls, ['+300']);
    cache.setRemote({ cidr: '10.0.1.9/32', identity: 400, node: 'n2', hostIp: '192.0.2.2' });
    cache.allowRemoval();
    await cache.sync();
    assert.deepEqual(
      calls,
      ['+300', '-'],
      "another node's word on a local address counts, or the old entry stayed",
    );
    cache.removeLocal('10.0.1.9/32');
    await cache.sync();
    assert.deepEqual(calls, ['+300', '-', '+400']);
  });

  const nodes = (labelledNodes: boolean): Ipcache =>
    new Ipcache('n1', {
      datapath: {
        upsertIpcache: async () => undefined,
        deleteIpcache: async () => undefined,
        readIpcache: async () => [],
      },
      emit: () => undefined,
      log: silentLog,
      onDirty: () => undefined,
      mayName: () => true,
      labelledNodes,
    });
  const other = (ipv4: string, name = 'n2'): ClusterNode => ({
    name,
    ipv4,
    ipv6: undefined,
    ipv4AllocRange: undefined,
    ipv6AllocRange: undefined,
    ipv4HealthIp: undefined,
    ipv6HealthIp: undefined,
  });

  it('gives another node the identity 7 at an address of the API server, 6 at others, and this one always 1', () => {
    const cache = nodes(false);
    cache.setNode(other('192.0.2.1', 'n1'));
    cache.setNode(other('192.0.2.2'));
    cache.setNode(other('192.0.2.3', 'n3'));
    cache.setApiServers(['192.0.2.1', '192.0.2.2']);
    cache.setNode(other('192.0.2.2'));
    const ids = (): unknown => cache.list().map(({ cidr, identity }) => `${cidr} ${identity}`);
    assert.deepEqual(ids(), ['192.0.2.1/32 1', '192.0.2.2/32 7', '192.0.2.3/32 6']);
    cache.setApiServers([]);
    assert.deepEqual(ids(), ['192.0.2.1/32 1', '192.0.2.2/32 6', '192.0.2.3/32 6']);
  });

  it('tells of a node with labels once its identity is known, and keeps the former one until then', () => {
    const cache = nodes(true);
    cache.setNode(other('192.0.2.2'));
    assert.equal(cache.get('192.0.2.2/32'), undefined);
    cache.setNodeIdentity('192.0.2.2/32', 2 << 24);
    assert.equal(cache.get('192.0.2.2/32')?.identity, 2 << 24);
    cache.setNode(other('192.0.2.2'));
    cache.setNodeIdentity('192.0.2.2/32', (2 << 24) + 1);
    assert.equal(cache.get('192.0.2.2/32')?.identity, (2 << 24) + 1);
    cache.removeNode('n2');
    assert.equal(cache.get('192.0.2.2/32'), undefined);
  });

  describe('while an identity may not be named', () => {
    const setUp = () => {
      const calls: string[] = [];
      const named = new Set<number>([300]);
      const cache = new Ipcache('n1', {
        datapath: {
          readIpcache: async () => [],
          upsertIpcache: async (entries) =>
            void calls.push(
              ...entries.map(({ identity, held }) => `+${identity}${held === true ? ' held' : ''}`),
            ),
          deleteIpcache: async (prefixes) => void calls.push(...prefixes.map(() => '-')),
        },
        emit: () => undefined,
        log: silentLog,
        onDirty: () => undefined,
        mayName: (id) => id >= 1 << 24 || named.has(id),
      });
      cache.allowRemoval();
      const tell = async (
        identity: number,
        owner: string | undefined,
        hostIp = '192.0.2.2',
      ): Promise<void> => {
        cache.setRemote({ cidr: '10.0.2.9/32', identity, node: 'n2', hostIp, owner });
        await cache.sync();
      };
      return { cache, calls, named, tell };
    };

    it('holds an address that came, once, and names it when it may be', async () => {
      const { cache, calls, named, tell } = setUp();
      await tell(400, 'default/x');
      await cache.sync();
      assert.deepEqual(calls, ['+400 held']);
      assert.equal(cache.waits, true);
      named.add(400);
      await cache.sync();
      assert.deepEqual(calls, ['+400 held', '+400']);
      assert.equal(cache.waits, false);
    });

    it('leaves what changes its labels as it was', async () => {
      const { calls, tell } = setUp();
      await tell(300, 'default/x');
      await tell(400, 'default/x');
      assert.deepEqual(calls, ['+300']);
    });

    it('holds an address that goes to another workload or another node, or was outside the cluster', async () => {
      const other = setUp();
      await other.tell(300, 'default/x');
      await other.tell(400, 'default/y');
      assert.deepEqual(other.calls, ['+300', '+400 held']);
      const moved = setUp();
      await moved.tell(300, undefined);
      await moved.tell(400, undefined, '192.0.2.3');
      assert.deepEqual(moved.calls, ['+300', '+400 held']);
      const outside = setUp();
      outside.cache.setPrefix('10.0.2.9/32', 1 << 24);
      await outside.cache.sync();
      await outside.tell(400, undefined);
      assert.deepEqual(outside.calls, ['+16777216', '+400 held']);
    });

    it('takes a held address back when it goes before it was named', async () => {
      const { cache, calls, tell } = setUp();
      await tell(400, undefined);
      cache.removeRemote('10.0.2.9/32', 'n2');
      await cache.sync();
      assert.deepEqual(calls, ['+400 held', '-']);
      assert.equal(cache.waits, false);
    });

    it("leaves the address of an endpoint of this node to the endpoint's own record", async () => {
      const { cache, calls } = setUp();
      cache.setLocal('10.0.1.9/32', 400, undefined);
      await cache.sync();
      assert.deepEqual(calls, []);
    });
  });
});
