import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { FlowOptions } from '../../support/live-traffic.ts';
import { object } from '../world.ts';
import { FROM_CLIENT, fromClient, TO_SERVER, toServers } from './rules.ts';
import type { Stage } from './stage.ts';

const NODE_PORT = 30_080;
const TEAM = 'k8s:io.cilium.k8s.namespace.labels.team';

/** Whom and which ports rules mean. */
export function defineSelection({ live, traffic }: Stage): void {
  /** What becomes of a connection of the client to an address outside. */
  const toAddress = (address: string, port: number): Promise<string> => {
    const options: FlowOptions = { address, family: address.includes(':') ? 6 : 4 };
    return traffic.tcp('client', 'outside', port, options);
  };
  /** One after the other: the drops of one are not to be taken for those of another. */
  const each = async (
    run: (name: string) => Promise<string>,
    names: readonly string[],
  ): Promise<readonly string[]> => {
    const results: string[] = [];
    for (const name of names) results.push(await run(name));
    return results;
  };
  const fromClientTo = (names: readonly string[]): Promise<readonly string[]> =>
    each((name) => traffic.tcp('client', name, name.startsWith('node') ? NODE_PORT : 80), names);
  const toServer = (names: readonly string[]): Promise<readonly string[]> =>
    each((name) => traffic.tcp(name, 'server', 80), names);

  it("corner case 5: a namespace's labels pick its pods, and follow when it is labelled anew", async () => {
    const { labels } = live.lab.workload('stranger');
    await live.policy(toServers(`[{fromEndpoints: [{matchLabels: {"${TEAM}": blue}}]}]`));
    assert.deepEqual(await toServer(['stranger', 'client']), ['133', '133']);
    await live.relabel('stranger', [...labels, `${TEAM}=blue`]);
    assert.deepEqual(await toServer(['stranger', 'client']), ['open', '133']);
    await live.relabel('stranger', [...labels, `${TEAM}=red`]);
    assert.deepEqual(await toServer(['stranger']), ['133']);
    await live.relabel('stranger', labels);
  });

  it('corner case 14: a named port is what each pod calls so, by protocol; an undefined name is no port', async () => {
    const named = (name: string, protocol: string): string =>
      toServers(`[{${FROM_CLIENT}, toPorts: [{ports: [{port: ${name}, protocol: ${protocol}}]}]}]`);
    const tcp = async (): Promise<readonly string[]> => [
      await traffic.tcp('client', 'server', 80),
      await traffic.tcp('client', 'server', 8080),
      await traffic.tcp('client', 'server2', 80),
      await traffic.tcp('client', 'server2', 8080),
    ];
    const udp = async (): Promise<readonly string[]> => [
      await traffic.udp('client', 'server', 80),
      await traffic.udp('client', 'server', 81),
    ];
    await live.policy(named('web', 'TCP'));
    assert.deepEqual(await tcp(), ['open', '133', '133', 'open']);
    assert.deepEqual(await udp(), ['133', '133']);
    await live.change(named('web', 'UDP'));
    assert.deepEqual(await tcp(), ['133', '133', '133', '133']);
    assert.deepEqual(await udp(), ['133', 'open']);
    await live.change(named('nobody', 'TCP'));
    assert.deepEqual(await tcp(), ['133', '133', '133', '133']);
    const towards = (protocol: string): string =>
      fromClient(`[{${TO_SERVER}, toPorts: [{ports: [{port: web, protocol: ${protocol}}]}]}]`);
    await live.policy(towards('UDP'));
    assert.deepEqual(await udp(), ['133', 'open'], 'towards others what pods of the cluster call so');
    await live.change(towards('TCP'));
    assert.deepEqual(await tcp(), ['133', '133', '133', '133'], 'if they agree');
  });

  it('corner case 15: a range holds its edges and nothing beyond, and yields to a deny inside', async () => {
    const ports = (): Promise<readonly string[]> =>
      each((port) => traffic.tcp('client', 'server', Number(port)), ['80', '81', '443', '8080']);
    const range = (first: number, last: number, more = ''): string =>
      toServers(`[{toPorts: [{ports: [{port: "${first}", endPort: ${last}, protocol: TCP}]}]}]`, more);
    await live.policy(range(81, 443));
    assert.deepEqual(await ports(), ['133', 'open', 'open', '133']);
    await live.change(range(1, 65_535));
    assert.deepEqual(await ports(), ['open', 'open', 'open', 'open']);
    assert.equal(await traffic.udp('client', 'server', 80), '133');
    await live.change(range(443, 81));
    assert.deepEqual(await ports(), ['133', '133', 'open', '133'], 'reversed it is its first port');
    await live.change(
      range(80, 8080, '\ningressDeny: [{toPorts: [{ports: [{port: "443", protocol: TCP}]}]}]'),
    );
    assert.deepEqual(await ports(), ['open', 'open', '181', 'open']);
  });

  it('corner case 16: a denial beats an allow that is more specific, and a denied range one of all', async () => {
    const deny =
      '\ningressDeny: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "50", endPort: 100, protocol: TCP}]}]}]';
    await live.policy(
      toServers(
        `[{${FROM_CLIENT}, toPorts: [{ports: [{port: "80", protocol: TCP}]}]}, {fromEntities: [all]}]`,
        deny,
      ),
    );
    const ports = await each((port) => traffic.tcp('client', 'server', Number(port)), ['80', '81', '443']);
    assert.deepEqual(ports, ['181', '181', 'open']);
    assert.deepEqual(await toServer(['stranger', 'plain']), ['open', '181']);
  });

  it('corner case 17: of a prefix inside another with other ports, both apply to its addresses', async () => {
    const port = (number: number): string => `toPorts: [{ports: [{port: "${number}", protocol: TCP}]}]`;
    await live.policy(
      fromClient(`[{toCIDR: [192.0.2.0/24], ${port(80)}}, {toCIDR: [192.0.2.128/25], ${port(443)}}]`),
    );
    const at = (number: number): Promise<readonly string[]> =>
      each((address) => toAddress(address, number), ['192.0.2.1', '192.0.2.200', '198.51.100.7']);
    assert.deepEqual(await at(80), ['open', 'open', '133']);
    assert.deepEqual(await at(443), ['133', 'open', '133']);
  });

  it('corner case 18: a prefix never matches pods, the host or nodes, whatever addresses they have', async () => {
    await live.policy(fromClient('[{toCIDR: [0.0.0.0/0, "::/0"]}]'));
    assert.deepEqual(await fromClientTo(['outside', 'server', 'server2', 'node1', 'node2']), [
      'open',
      '133',
      '133',
      '133',
      '133',
    ]);
    const { ipv4 } = live.place('server');
    await live.change(fromClient(`[{toCIDR: [${ipv4}/32, ${live.address('node2')}/32]}]`));
    assert.deepEqual(await fromClientTo(['outside', 'server', 'node2']), ['133', '133', '133']);
  });

  it('corner case 19: an exception holds inside its own entry only', async () => {
    const set = '{toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.0/30]}]}';
    const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.200'];
    const reached = (): Promise<readonly string[]> => each((address) => toAddress(address, 80), addresses);
    await live.policy(fromClient(`[${set}]`));
    assert.deepEqual(await reached(), ['133', '133', 'open']);
    await live.change(fromClient(`[${set}, {toCIDR: [192.0.2.2/32]}]`));
    assert.deepEqual(await reached(), ['133', 'open', 'open']);
  });

  it('corner case 20: every address of IPv4 is none of IPv6', async () => {
    const reached = (): Promise<readonly string[]> =>
      each((address) => toAddress(address, 80), ['192.0.2.1', '2001:db8::1']);
    await live.policy(fromClient('[{toCIDR: [0.0.0.0/0]}]'));
    assert.deepEqual(await reached(), ['open', '133']);
    await live.change(fromClient('[{toCIDR: ["::/0"]}]'));
    assert.deepEqual(await reached(), ['133', 'open']);
  });

  it('corner case 21: the world is neither host nor remote nodes, the cluster is all but the world', async () => {
    const everybody = ['outside', 'node1', 'node2', 'server', 'stranger'];
    await live.policy(fromClient('[{toEntities: [world]}]'));
    assert.deepEqual(await fromClientTo(everybody), ['open', '133', '133', '133', '133']);
    await live.change(fromClient('[{toEntities: [cluster]}]'));
    assert.deepEqual(await fromClientTo(everybody), ['133', 'open', 'open', 'open', 'open']);
    await live.change(toServers('[{fromEntities: [world]}]'));
    assert.deepEqual(await toServer(['outside', 'node2', 'client']), ['open', '133', '133']);
  });

  it('corner case 30: what runs on the network of a node is the host, or a remote node, and no pod', async () => {
    await live.policy(toServers('[{fromEndpoints: [{}]}]'));
    assert.deepEqual(
      await toServer(['client', 'node1', 'node2']),
      ['open', 'open', '133'],
      'its own node may always',
    );
    await live.change(toServers('[{fromEntities: [remote-node]}]'));
    assert.deepEqual(await toServer(['client', 'node2']), ['133', 'open']);
    await live.change(toServers('[{fromEntities: [host]}]'));
    assert.deepEqual(await toServer(['node1', 'node2']), ['open', '133']);
    await live.change(toServers('[{}]', '\ningressDeny: [{fromEntities: [host]}]'));
    assert.deepEqual(await toServer(['node1', 'node2']), ['181', '133'], 'but for a denial');
  });

  it('corner case 31: a port of its own node is open to a pod by the rule for the host, of another by that for remote nodes', async () => {
    const nodes = ['node1', 'node2'];
    await live.policy(fromClient('[{toEntities: [host]}]'));
    assert.deepEqual(await fromClientTo(nodes), ['open', '133']);
    await live.change(fromClient('[{toEntities: [remote-node]}]'));
    assert.deepEqual(await fromClientTo(nodes), ['133', 'open']);
    await live.change(fromClient(`[{${TO_SERVER}}]`));
    assert.deepEqual(await fromClientTo(nodes), ['133', '133'], 'a backend behind it counts for nothing');
  });

  it('corner case 37: policies of one name live side by side in two namespaces; an update changes its subject only', async () => {
    const closed = (app: string, namespace = ''): string =>
      object(`endpointSelector: {matchLabels: {app: ${app}}}\ningress: [{}]`, 'same', namespace);
    const open = (): Promise<readonly string[]> =>
      each((name) => traffic.tcp('far', name, 80), ['client', 'stranger', 'plain']);
    await live.policy(closed('client') + closed('client', 'other'));
    assert.deepEqual(await open(), ['133', '133', 'open']);
    await live.change(closed('plain'));
    assert.deepEqual(await open(), ['open', '133', '133']);
  });
}
