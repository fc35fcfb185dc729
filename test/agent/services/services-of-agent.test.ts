import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { formatIp } from '../../../src/base/ip.ts';
import { ClusterFixture, type NodeFixture, request, until } from '../agent-fixture.ts';

const NAMESPACE = 'k8s:io.kubernetes.pod.namespace=default';
const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web' },
  spec: { clusterIP: '10.96.0.1', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'www' }] },
};
const PORTS = [{ name: 'www', protocol: 'TCP', port: 8080 }];

/** Backends of each frontend in the kernel of a node. */
function held(node: NodeFixture): Readonly<Record<string, readonly string[]>> {
  const services = [...node.kernel.services].map(([key, { backends }]) => {
    return [key, backends.map(({ address, port }) => `${formatIp(address)}:${port}`)] as const;
  });
  return Object.fromEntries(services);
}

describe('the services of an agent', () => {
  const cluster = new ClusterFixture();
  const [a, b] = [cluster.node(1), cluster.node(2)];
  const addPod = async (node: NodeFixture, id: string, ipv4: string): Promise<void> => {
    const made = request(node, ['k8s:app=web', NAMESPACE], { addressing: { ipv4 } });
    await node.client.putEndpoint(id, { ...made, 'named-ports': PORTS } as typeof made);
  };
  const follows = (node: NodeFixture, what: string, backends: readonly string[]): Promise<void> =>
    until(what, () => String(held(node)['10.96.0.1:80/TCP'] ?? 'none') === String(backends));

  before(async () => {
    await a.start();
    await b.start();
    await addPod(a, '11', '10.0.1.11');
  });
  after(() => cluster.dispose());

  it('follow imported objects and the pods that these select, here and on other nodes', async () => {
    await a.client.putPolicy(JSON.stringify([SERVICE]));
    await follows(a, 'its own pod', ['10.0.1.11:8080']);
    await addPod(b, '21', '10.0.2.21');
    await follows(a, 'one of another node', ['10.0.1.11:8080', '10.0.2.21:8080']);
    await b.client.deleteEndpoint('21');
    await follows(a, 'it is gone', ['10.0.1.11:8080']);
    const [service] = await a.client.services();
    assert.equal(service?.spec?.flags?.name, 'web');
    assert.equal(service?.status?.realized?.['backend-addresses']?.[0]?.state, 'active');
    await assert.rejects(a.client.deleteService(service?.spec?.id ?? 0), {
      status: 409,
      message: /default\/web/,
    });
  });

  it('keep ids, backends and those of the API over a restart', async () => {
    await a.client.putService(77, { 'frontend-address': { ip: '10.96.0.7', port: 7 } });
    const before = [...a.kernel.services].map(([key, { id }]) => [key, id]);
    await a.stop();
    await a.start();
    await follows(a, 'the same', ['10.0.1.11:8080']);
    assert.deepEqual(
      [...a.kernel.services].map(([key, { id }]) => [key, id]),
      before,
    );
    assert.equal((await a.client.service(77)).spec?.id, 77);
  });

  it('stay in the datapath while the rules, and with them the objects, are lost', async () => {
    await a.stop();
    a.corruptRules();
    await a.start();
    await until('it serves', async () => (await a.client.healthz().catch(() => undefined)) !== undefined);
    await a.client.putService(78, { 'frontend-address': { ip: '10.96.0.8', port: 8 } });
    assert.deepEqual(Object.keys(held(a)).sort(), ['10.96.0.1:80/TCP', '10.96.0.7:7/TCP', '10.96.0.8:8/TCP']);
    await a.client.putPolicy(JSON.stringify([]));
    await until('it goes once it is known', () => held(a)['10.96.0.1:80/TCP'] === undefined);
  });

  it('go with their objects, and status tells of those that do not fit', async () => {
    await a.client.putPolicy(JSON.stringify([SERVICE]));
    await follows(a, 'there again', ['10.0.1.11:8080']);
    a.datapath.failures.set('upsertService', new Error('no room for it'));
    await assert.rejects(a.client.putService(500, { 'frontend-address': { ip: '10.96.0.9', port: 9 } }), {
      status: 500,
      message: /service 500 is kept, and tried again: no room for it/,
    });
    const status = await a.client.healthz();
    assert.match(status.cilium?.msg ?? '', /1 services are not in the datapath/);
    assert.deepEqual(status.services?.failed, ['10.96.0.9:9/TCP']);
    a.datapath.failures.clear();
    await a.client.deletePolicyObjects(['svc/web']);
    await until('it went', () => held(a)['10.96.0.1:80/TCP'] === undefined);
    assert.match(await a.client.metrics(), /^cilium_services_events_total\{action="delete"\} [1-9]/m);
  });
});
