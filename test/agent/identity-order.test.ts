import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterFixture, type NodeFixture, request, until } from './agent-fixture.ts';

/** Everybody may reach `web`, but those with the label. */
const allBut = (app: string): string =>
  JSON.stringify([
    {
      endpointSelector: { matchLabels: { 'k8s:app': 'web' } },
      ingress: [{ fromEntities: ['all'] }],
      ingressDeny: [{ fromEndpoints: [{ matchLabels: { 'k8s:app': app } }] }],
      labels: [{ source: 'unspec', key: 'name', value: `no-${app}` }],
    },
  ]);

/** How long nothing may happen for a test to believe that nothing will. */
const QUIET_MS = 150;

describe('a new identity', () => {
  let cluster: ClusterFixture;
  let node: NodeFixture;
  let other: NodeFixture;
  let release: () => void;

  beforeEach(async () => {
    cluster = new ClusterFixture();
    node = cluster.node(1);
    other = cluster.node(2);
    await node.start();
    await other.start();
  });
  afterEach(async () => {
    release?.();
    node.kernel.beforePolicy = () => undefined;
    node.kernel.afterPolicy = () => undefined;
    await cluster.dispose();
  });

  const calls = (): string => node.kernel.calls.join('\n');
  const at = (pattern: RegExp): number => node.kernel.calls.findIndex((call) => pattern.test(call));
  const clear = (): void => void node.kernel.calls.splice(0);
  const add = (where: NodeFixture, id: number, app: string, more = {}) => {
    const range = where === node ? 1 : 2;
    const addressing = { ipv4: `10.0.${range}.${id}` };
    return where.client.putEndpoint(String(id), {
      ...request(where, [`k8s:app=${app}`], { ...more }),
      id,
      addressing,
    });
  };
  const stateOf = (id: number): string | undefined =>
    node.agent.manager.list().find((endpoint) => endpoint.id === id)?.state;
  const knowsOf = (id: number): number =>
    [...(node.kernel.endpoints.get(id)?.policy.values() ?? [])].filter(
      ({ entry }) => entry.verdict.kind === 'deny',
    ).length;
  /** Writes of the endpoint's policy wait until `release`. */
  const delay = (id: number): void => {
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    node.kernel.beforePolicy = (one) => (one === id ? gate : undefined);
  };
  const fail = (id: number): void => {
    node.kernel.beforePolicy = (one) => {
      if (one === id) throw new Error('no memory');
    };
  };
  const guarded = async (): Promise<void> => {
    await add(node, 10, 'web');
    const { revision = 0 } = await node.client.putPolicy(allBut('x'));
    await until('the rule is realized', async () => {
      const [web] = await node.client.endpoints();
      return web?.status?.policy?.realized?.['policy-revision'] === revision;
    });
    clear();
  };

  describe('of a pod of another node', () => {
    it('is held until the policy map that denies it is written, however long that takes', async () => {
      await guarded();
      delay(10);
      await add(other, 20, 'x');
      await until('it is held', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+ held$/) >= 0);
      await sleep(QUIET_MS);
      assert.equal(at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/), -1, calls());
      release();
      await until('it is named', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/) >= 0);
      assert.ok(
        at(/^policy 10 /) >= 0 && at(/^policy 10 /) < at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/),
        calls(),
      );
      assert.equal(knowsOf(10), 1);
      assert.equal(at(/^lock /), -1);
    });

    it('is named once the endpoint whose map cannot be written is closed, which opens when it can be', async () => {
      await guarded();
      fail(10);
      await add(other, 20, 'x');
      await until('it is named', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/) >= 0);
      assert.ok(at(/^lock 10$/) >= 0 && at(/^lock 10$/) < at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/), calls());
      assert.equal(node.kernel.endpoints.get(10)?.locked, true);
      const shown = await node.client.endpointLog('10');
      assert.ok(shown.some(({ message }) => /Closed until its policy is written/.test(message ?? '')));
      node.kernel.beforePolicy = () => undefined;
      await until('it is open again', () => node.kernel.endpoints.get(10)?.locked === false);
      assert.equal(knowsOf(10), 1);
      await until('it is ready', () => stateOf(10) === 'ready');
    });

    it('leaves no endpoint closed for good that is closed in the moment in which its map was written', async () => {
      await guarded();
      let closings = 0;
      node.kernel.afterPolicy = (id) => {
        if (id === 10 && closings++ === 0) void node.agent.manager.close(10);
      };
      await add(other, 20, 'x');
      await until('it was closed', () => at(/^lock 10$/) >= 0);
      await until('it is open again', () => node.kernel.endpoints.get(10)?.locked === false);
      await until('it is ready', () => stateOf(10) === 'ready');
      assert.equal(knowsOf(10), 1);
      assert.ok(closings > 1, calls());
    });

    it('that came while the agent was away is held until the restarted one has written every map', async () => {
      await guarded();
      await node.stop();
      await add(other, 20, 'x');
      clear();
      delay(10);
      await node.start();
      await until('it is held', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+ held$/) >= 0);
      await sleep(QUIET_MS);
      assert.equal(at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/), -1, calls());
      release();
      await until('it is named', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/) >= 0);
      assert.equal(knowsOf(10), 1);
    });

    it('stays held when the agent is killed before it was named, until the next one has written every map', async () => {
      await guarded();
      delay(10);
      await add(other, 20, 'x');
      await until('it is held', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+ held$/) >= 0);
      const held = new Map(node.kernel.ipcache);
      const endpoints = [...node.kernel.endpoints].map(([id, one]) => [id, { ...one }] as const);
      release();
      await node.stop();
      // What a kill at that moment would have left.
      for (const [cidr, entry] of held) node.kernel.ipcache.set(cidr, entry);
      for (const [id, one] of endpoints) node.kernel.endpoints.set(id, one);
      assert.equal(node.kernel.ipcache.get('10.0.2.20/32')?.held, true);
      assert.equal(knowsOf(10), 0);
      clear();
      delay(10);
      await node.start();
      await sleep(QUIET_MS);
      assert.equal(node.kernel.ipcache.get('10.0.2.20/32')?.held, true);
      release();
      await until('it is named', () => node.kernel.ipcache.get('10.0.2.20/32')?.held === undefined);
      assert.equal(knowsOf(10), 1);
    });
  });

  describe('of an endpoint of this node', () => {
    it('waits behind closed doors until the policy map that denies it is written', async () => {
      await guarded();
      delay(10);
      await add(node, 11, 'x', { 'sync-build-endpoint': false });
      await until('it waits', () => node.agent.manager.list()[1]?.awaitsName === true);
      await sleep(QUIET_MS);
      assert.equal(node.kernel.endpoints.get(11)?.locked, true);
      assert.equal(at(/^(identity|policy) 11 /), -1, calls());
      release();
      await until('it is ready', () => stateOf(11) === 'ready');
      assert.ok(at(/^policy 10 /) < at(/^identity 11 /), calls());
      assert.equal(knowsOf(10), 1);
    });

    it('comes with its labels only then; until then it is what it was, and follows the rules for that', async () => {
      await guarded();
      await add(node, 11, 'y');
      const before = node.kernel.endpoints.get(11)?.endpoint.identity;
      delay(10);
      await node.client.patchEndpoint('11', { state: 'ready', labels: ['k8s:app=x'] });
      await until('it waits', () => node.agent.manager.list()[1]?.awaitsName === true);
      assert.equal(node.kernel.endpoints.get(11)?.endpoint.identity, before);
      assert.equal(node.kernel.endpoints.get(11)?.locked, false);
      clear();
      release();
      await until('it is ready', () => stateOf(11) === 'ready');
      assert.notEqual(node.kernel.endpoints.get(11)?.endpoint.identity, before);
      assert.ok(at(/^policy 10 /) >= 0 && at(/^policy 10 /) < at(/^identity 11 /), calls());
    });

    it('that changes its labels with another one, each denied by the other, keeps nobody waiting', async () => {
      await node.client.putPolicy(
        JSON.stringify([
          {
            endpointSelector: {},
            ingress: [{ fromEntities: ['all'] }],
            ingressDeny: [{ fromEndpoints: [{ matchLabels: { 'k8s:app': 'x' } }] }],
            labels: [{ source: 'unspec', key: 'name', value: 'no-x' }],
          },
        ]),
      );
      await add(node, 11, 'y');
      await add(node, 12, 'z');
      clear();
      await Promise.all(
        ['11', '12'].map((id) => node.client.patchEndpoint(id, { state: 'ready', labels: ['k8s:app=x'] })),
      );
      await until('both are ready', () => stateOf(11) === 'ready' && stateOf(12) === 'ready');
      assert.equal(at(/^lock /), -1, calls());
      const first = at(/^identity /);
      assert.ok(at(/^policy 11 /) < first && at(/^policy 12 /) < first, calls());
    });

    it('goes on under its old labels while the store is away', async () => {
      await guarded();
      await add(node, 11, 'y');
      await node.client.putPolicy(allBut('y'));
      await until('it is ready', () => stateOf(10) === 'ready' && stateOf(11) === 'ready');
      const before = node.kernel.endpoints.get(11)?.endpoint.identity;
      node.failStore = new Error('away');
      await node.client.patchEndpoint('11', { state: 'ready', labels: ['k8s:app=new'] });
      await until('that shows', () => stateOf(11) === 'not-ready');
      await node.client.deletePolicy([]);
      await until('the rest goes on', () => stateOf(10) === 'ready');
      assert.equal(node.kernel.endpoints.get(11)?.endpoint.identity, before);
      assert.equal(node.kernel.endpoints.get(11)?.locked, false);
      node.failStore = undefined;
      await until('it has them', () => stateOf(11) === 'ready');
      assert.notEqual(node.kernel.endpoints.get(11)?.endpoint.identity, before);
    });
  });

  it('of a prefix stays in the ipcache while the rules that named it are lost', async () => {
    await guarded();
    const outside = [{ toCIDR: ['0.0.0.0/0'] }, { toCIDRSet: [{ cidr: '198.51.100.0/24' }] }];
    const rule = { endpointSelector: { matchLabels: { 'k8s:app': 'web' } }, egress: [outside[0]] };
    await node.client.putPolicy(JSON.stringify([{ ...rule, egressDeny: [outside[1]] }]));
    await until('it is named', () => node.kernel.ipcache.has('198.51.100.0/24'));
    await node.stop();
    node.corruptRules();
    await node.start();
    await until('it is built', () => node.agent.manager.list().every(({ builds }) => builds > 0));
    await sleep(QUIET_MS);
    assert.ok(node.kernel.ipcache.has('198.51.100.0/24'));
    await node.client.putPolicy(allBut('x'));
    await until('nobody needs it', () => !node.kernel.ipcache.has('198.51.100.0/24'));
  });

  it('waits while the rules are lost, and for every map when they are known again', async () => {
    await guarded();
    await node.stop();
    node.corruptRules();
    await node.start();
    await add(other, 20, 'x');
    await until('it is held', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+ held$/) >= 0);
    await sleep(QUIET_MS);
    assert.equal(at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/), -1, calls());
    delay(10);
    await node.client.putPolicy(allBut('x'));
    await sleep(QUIET_MS);
    assert.equal(at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/), -1, calls());
    release();
    await until('it is named', () => at(/^ipcache \+ 10\.0\.2\.20\/32 \d+$/) >= 0);
    assert.equal(knowsOf(10), 1);
  });
});
