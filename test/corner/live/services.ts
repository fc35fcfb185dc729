import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { echo, OPEN_MS } from '../../support/live-traffic.ts';
import { closed } from '../../support/net-sockets.ts';
import { object } from '../world.ts';
import { fromClient } from './rules.ts';
import type { Stage } from './stage.ts';

/** Longer than the first two times that TCP sends again. */
const CUT_MS = 900;
const TO_SERVICE = 'toServices: [{k8sService: {serviceName: shop, namespace: default}}]';
const service = (spec: string): string =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: default}\nspec: {ports: [{port: 80}]${spec}}\n`;
const endpoints = (...addresses: readonly string[]): string => {
  const list = addresses.map((ip) => `{ip: "${ip}"}`).join(', ');
  const subsets = addresses.length === 0 ? '[]' : `[{addresses: [${list}], ports: [{port: 80}]}]`;
  return `---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: shop, namespace: default}\nsubsets: ${subsets}\n`;
};

/** Connections that are enough to see both of two backends: all at one once in 2^23 runs. */
const SOME = 24;
/** The addresses of a service, and the port at which any node answers for it. */
const VIP = { 4: '10.96.0.10', 6: 'fd96::10' } as const;
const NODE_PORT = 30_081;
/** Longer than clients keep their backend. */
const AFFINITY_MS = 1100;

/** By family: addresses, or addresses with their conditions. */
type Backends = Readonly<Partial<Record<4 | 6, readonly (string | readonly [string, string])[]>>>;

function balanced(backends: Backends, spec: string): string {
  const port = `{name: p, port: 80, protocol: TCP, nodePort: ${NODE_PORT}}, {name: q, port: 81, protocol: UDP}`;
  const head =
    '---\napiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: default}\n' +
    `spec: {type: NodePort, clusterIPs: ["${VIP[4]}", "${VIP[6]}"], ipFamilies: [IPv4, IPv6], ports: [${port}]${spec}}\n`;
  const slices = ([4, 6] as const).map((family) => {
    const endpoints = (backends[family] ?? []).map((backend) => {
      const [address, conditions] = typeof backend === 'string' ? [backend, 'ready: true'] : backend;
      return `{addresses: ["${address}"], conditions: {${conditions}}}`;
    });
    const meta = `metadata: {name: shop-${family}, namespace: default, labels: {kubernetes.io/service-name: shop}}`;
    const ports = 'ports: [{name: p, port: 8080, protocol: TCP}, {name: q, port: 8080, protocol: UDP}]';
    return `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n${meta}\naddressType: IPv${family}\n${ports}\nendpoints: [${endpoints.join(', ')}]\n`;
  });
  return head + slices.join('');
}

/** Services, and what rules mean by them. */
export function defineServices({ live, traffic }: Stage): void {
  const at = (address: string): Promise<string> =>
    traffic.tcp('client', 'outside', 80, { address, family: address.includes(':') ? 6 : 4 });
  const backends = (...addresses: readonly string[]): string =>
    fromClient(`[{${TO_SERVICE}}]`) + service('') + endpoints(...addresses);

  it('corner case 28: a pod of a service reaches the others by a rule for the service, and itself without any', async () => {
    const out = object(`endpointSelector: {matchLabels: {app: server}}\negress: [{${TO_SERVICE}}]`);
    await live.policy(out + service(', selector: {app: server}'));
    assert.equal(await traffic.tcp('server', 'server2', 80), 'open');
    assert.equal(await traffic.tcp('server', 'client', 80), '133');
    assert.equal(await traffic.tcp('server', 'server', 80), 'open');
    await live.change(out + service(', selector: {app: plain}'));
    assert.equal(await traffic.tcp('server', 'server2', 80), '133');
    assert.equal(await traffic.tcp('server', 'server', 80), 'open');
  });

  it('corner case 41: a service without backends is nobody, and flows to a backend that is removed are cut', async () => {
    await live.policy(backends());
    assert.deepEqual([await at('192.0.2.1'), await at('192.0.2.2')], ['133', '133']);
    await live.change(backends('192.0.2.1', '192.0.2.2'));
    assert.deepEqual([await at('192.0.2.1'), await at('192.0.2.2')], ['open', 'open']);
    const gone = await traffic.connect('client', 'outside', 80, { address: '192.0.2.1' });
    const kept = await traffic.connect('client', 'outside', 80, { address: '192.0.2.2' });
    await live.change(backends('192.0.2.2'));
    assert.deepEqual([await echo(gone, CUT_MS), await echo(kept)], [false, true]);
    assert.deepEqual([await at('192.0.2.1'), await at('192.0.2.2')], ['133', 'open']);
  });

  const through = (from: string, address: string, port = 80): Promise<string> =>
    traffic.tcp(from, 'outside', port, { address, family: address.includes(':') ? 6 : 4 });
  /** Puts rules and a service in force, and waits until the datapath of both nodes has it. */
  const apply = async (rules: string, backends: Backends, spec = ''): Promise<void> => {
    const text = balanced(backends, spec);
    await live.policy(rules + text);
    for (const family of [4, 6] as const) {
      const wanted = (backends[family] ?? []).map((backend) =>
        typeof backend === 'string' ? backend : backend[0],
      );
      await live.balanced(VIP[family], 80, wanted);
    }
  };
  /** Which pods so many new connections of the client to the service came to. */
  const reached = (count: number): Promise<readonly string[]> =>
    traffic.reached(['far', 'server', 'server2'], 8080, async () => {
      for (let i = 0; i < count; i++) assert.equal(await through('client', VIP[4]), 'open');
    });
  const DENY_ALL = object('endpointSelector: {matchLabels: {app: server}}\ningress: [{}]\negress: [{}]');

  it('corner case 28: a pod that is its own backend reaches itself through the service, whatever its policy', async () => {
    const own = { 4: [live.address('server')], 6: [live.address('server', 6)] };
    await apply(DENY_ALL, own);
    assert.deepEqual([await through('server', VIP[4]), await through('server', VIP[6])], ['open', 'open']);
    assert.equal(await through('client', VIP[4]), '133', 'others are judged');
    await apply(DENY_ALL, { 4: [live.address('server2')] });
    assert.equal(await through('server', VIP[4]), '133', 'another backend is judged');
  });

  it('corner case 31: the port of the own and of another node leads to the backend, and is judged as it', async () => {
    const rules = fromClient(
      '[{toEndpoints: [{matchLabels: {app: far}}], toPorts: [{ports: [{port: "8080"}]}]}]',
    );
    await apply(rules, { 4: [live.address('far')], 6: [live.address('far', 6)] });
    const ports: string[] = [];
    for (const node of ['node1', 'node2'])
      for (const family of [4, 6] as const)
        ports.push(await through('client', live.address(node, family), NODE_PORT));
    assert.deepEqual(ports, ['open', 'open', 'open', 'open']);
    assert.equal(
      await through('client', live.address('node2'), 30_080),
      '133',
      'what listens there itself is the node',
    );
    await apply(rules, { 4: [live.address('server2')] });
    assert.equal(await through('client', live.address('node1'), NODE_PORT), '133');
  });

  it('corner case 41: a service without backends refuses at once', async () => {
    await apply('', {});
    for (const address of [VIP[4], VIP[6]]) assert.equal(await through('client', address), 'refused');
    assert.equal(await through('client', live.address('node2'), NODE_PORT), 'refused');
  });

  it('corner case 41: a backend that terminates keeps its connections and gets no new ones; one that is gone resets them', async () => {
    const [leaving, staying] = [live.address('far'), live.address('server2')];
    await apply('', { 4: [leaving] });
    const kept = await traffic.connect('client', 'far', 80, { address: VIP[4] });
    assert.equal(await echo(kept), true);
    await apply('', { 4: [[leaving, 'ready: false, serving: true, terminating: true'], staying] });
    assert.equal(await echo(kept), true);
    assert.deepEqual(await reached(SOME), ['server2']);
    await apply('', { 4: [staying] });
    const reset = closed(kept);
    kept.write('x');
    assert.equal(await Promise.race([reset.then(() => 'reset'), delay(OPEN_MS, 'open')]), 'reset');
  });

  it('corner case 41: a client keeps its backend as long as the service says, and may get another one after that', async () => {
    const both = { 4: [live.address('far'), live.address('server2')] };
    await apply(
      '',
      both,
      ', sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}',
    );
    assert.equal((await reached(SOME)).length, 1);
    const later = new Set<string>();
    for (let i = 0; i < SOME && later.size < 2; i++) {
      await delay(AFFINITY_MS);
      for (const name of await reached(1)) later.add(name);
    }
    assert.deepEqual([...later].sort(), ['far', 'server2']);
  });

  it('corner case 42: a socket of UDP stays at one backend, many are spread, and recvmsg shows the service', async () => {
    await apply('', { 4: [live.address('far'), live.address('server2')] });
    const all = new Set<string>();
    for (let i = 0; i < SOME; i++) {
      const socket = await traffic.udpSocket('client');
      const one = await traffic.reached(['far', 'server2'], 8080, async () => {
        for (let j = 0; j < 3; j++) {
          const answer = once(socket, 'message', { signal: AbortSignal.timeout(OPEN_MS) });
          socket.send('?', 81, VIP[4]);
          const [, from] = (await answer) as [Buffer, { address: string; port: number }];
          assert.deepEqual([from.address, from.port], [VIP[4], 81]);
        }
      });
      assert.equal(one.length, 1);
      for (const name of one) all.add(name);
    }
    assert.deepEqual([...all].sort(), ['far', 'server2']);
  });

  it('corner case 43: each family of a service leads to its own backends, and to nobody if it has none', async () => {
    await apply('', { 4: [live.address('far')], 6: [live.address('server2', 6)] });
    const [v4, v6] = [await reached(1), await through('client', VIP[6])];
    assert.deepEqual([v4, v6], [['far'], 'open']);
    await apply('', { 6: [live.address('server2', 6)] });
    assert.deepEqual([await through('client', VIP[4]), await through('client', VIP[6])], ['refused', 'open']);
  });

  it('corner case 43: backends of both families are meant, each by its own addresses', async () => {
    await live.policy(backends('192.0.2.1', '2001:db8::1'));
    const all = ['192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::7'];
    const reached = async (): Promise<readonly string[]> => {
      const outcomes: string[] = [];
      for (const address of all) outcomes.push(await at(address));
      return outcomes;
    };
    assert.deepEqual(await reached(), ['open', '133', 'open', '133']);
    await live.change(backends('2001:db8::1'));
    assert.deepEqual(await reached(), ['133', '133', 'open', '133']);
  });
}
