import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import * as dnsPacket from 'dns-packet';
import type { Zone } from '../../support/dns-server.ts';
import { statuses } from '../../support/http-statuses.ts';
import { OPEN_MS } from '../../support/live-traffic.ts';
import { type StartedProcess, startProcess } from '../../support/process.ts';
import { fromClient, toServers } from './rules.ts';
import { HTTP_PORT, type Stage } from './stage.ts';

const SERVER = join(import.meta.dirname, '../../support/dns-server.ts');
/** Names that no other case looks up: what was looked up stays open for a while. */
const ZONE: Zone = {
  'www.v.io': { a: ['192.0.2.1'], ttl: 60 },
  'api.v.io': { a: ['192.0.2.2'], ttl: 60 },
};
const REFUSED = 5;
const VIP = { 4: '10.96.0.53', 6: 'fd96::53' } as const;
/** Two servers, one of each node; questions that are enough to see both: all at one once in 2^15 runs. */
const SERVERS = ['plain', 'far'] as const;
const QUESTIONS = 16;
const PORTS =
  '{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}, {name: web, port: 80}';

/** A Service at both `VIP`s with these backends. */
function service(backends: Readonly<Record<4 | 6, readonly string[]>>): string {
  const meta = 'metadata: {name: shop, namespace: default}';
  const head = `---\napiVersion: v1\nkind: Service\n${meta}\nspec: {clusterIPs: ["${VIP[4]}", "${VIP[6]}"], ports: [${PORTS}]}\n`;
  const ports = `{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}, {name: web, port: ${HTTP_PORT}}`;
  const slices = ([4, 6] as const).map((family) => {
    const endpoints = backends[family].map((address) => `{addresses: ["${address}"]}`).join(', ');
    const slice = `metadata: {name: shop-${family}, namespace: default, labels: {kubernetes.io/service-name: shop}}`;
    return `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n${slice}\naddressType: IPv${family}\nports: [${ports}]\nendpoints: [${endpoints}]\n`;
  });
  return head + slices.join('');
}

/** Rules that a proxy judges, of flows that come through services. */
export function defineServiceRules({ live, traffic }: Stage): void {
  const apply = async (rules: string, names: readonly string[]): Promise<void> => {
    const backends = {
      4: names.map((name) => live.address(name)),
      6: names.map((name) => live.address(name, 6)),
    };
    await live.policy(rules + service(backends));
    for (const family of [4, 6] as const) await live.balanced(VIP[family], 53, backends[family]);
  };

  describe('names by the address of a service', () => {
    const servers: StartedProcess[] = [];
    before(async () => {
      for (const name of SERVERS) {
        const argv = [process.execPath, SERVER, JSON.stringify(ZONE)];
        const server = await startProcess(['nsenter', `--net=${live.place(name).netns}`, '--', ...argv]);
        servers.push(server);
        await server.waitForLine(/^ready$/);
      }
    });
    after(() => Promise.all(servers.map((server) => server.stop('SIGKILL'))));

    const question = (name: string): Buffer =>
      dnsPacket.encode({
        ...{ type: 'query', id: randomInt(65_536), flags: dnsPacket.RECURSION_DESIRED },
        questions: [{ type: 'A', name }],
      });
    const addresses = (message: Buffer): readonly string[] | number => {
      const code = message.readUInt8(3) & 0x0f;
      if (code !== 0) return code;
      return (dnsPacket.decode(message).answers ?? []).flatMap((one) => (one.type === 'A' ? [one.data] : []));
    };
    /** What the client is told by UDP; the answer comes from the service. */
    const ask = async (name: string, family: 4 | 6 = 4): Promise<readonly string[] | number> => {
      const socket = await traffic.udpSocket('client', { family });
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(OPEN_MS) });
      socket.send(question(name), 53, VIP[family]);
      const [message, from] = (await answer) as [Buffer, { address: string; port: number }];
      assert.deepEqual([from.address, from.port], [VIP[family], 53]);
      return addresses(message);
    };
    const askTcp = async (name: string, family: 4 | 6): Promise<readonly string[] | number> => {
      const socket = await traffic.connect('client', 'far', 53, { address: VIP[family], family });
      const bytes = question(name);
      const answer = once(socket, 'data', { signal: AbortSignal.timeout(OPEN_MS) });
      socket.write(Buffer.concat([Buffer.from([0, bytes.length]), bytes]));
      return addresses(((await answer) as [Buffer])[0].subarray(2));
    };
    const visit = (address: string): Promise<string> => traffic.tcp('client', 'outside', 80, { address });
    const rules = (peers: string): string =>
      fromClient(`
- toEndpoints: [${peers}]
  toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*.v.io"}]}}]
- toFQDNs: [{matchPattern: "*.v.io"}]
  toPorts: [{ports: [{port: "80", protocol: TCP}]}]`);
    const BOTH = '{matchLabels: {app: plain}}, {matchLabels: {app: far}}';

    it('are answered by any server through the proxy, in the name of the service, and open the way to what they stand for', async () => {
      await apply(rules(BOTH), SERVERS);
      assert.equal(await visit('192.0.2.1'), '133', 'before it was asked for');
      for (let i = 0; i < QUESTIONS; i++) assert.deepEqual(await ask('www.v.io'), ['192.0.2.1']);
      for (const server of servers) assert.match(server.output(), /"www\.v\.io".*"udp"/);
      assert.equal(await visit('192.0.2.1'), 'open');
      assert.deepEqual(await ask('api.v.io', 6), ['192.0.2.2']);
      assert.equal(await visit('192.0.2.2'), 'open');
      assert.equal(await ask('bank.com'), REFUSED);
      for (const family of [4, 6] as const) {
        assert.deepEqual(await askTcp('www.v.io', family), ['192.0.2.1']);
        assert.equal(await askTcp('bank.com', family), REFUSED);
      }
      for (const server of servers) assert.doesNotMatch(server.output(), /bank/);
    });

    it('are not asked of a server that no rule allows', async () => {
      await apply(rules('{matchLabels: {app: far}}'), ['plain']);
      assert.equal(await traffic.udp('client', 'far', 53, { address: VIP[4] }), '133');
    });
  });

  it('requests to a service are judged by the rules of both ends about the backend, and answered in its name', async () => {
    const requests = `toPorts: [{ports: [{port: "${HTTP_PORT}", protocol: TCP}], rules: {http: [{method: GET, path: "/public"}]}}]`;
    for (const rule of [
      toServers(`[{${requests}}]`),
      fromClient(`[{toEndpoints: [{matchLabels: {app: server}}], ${requests}}]`),
    ]) {
      for (const name of ['server', 'server2']) {
        await apply(rule, [name]);
        const socket = await traffic.connect('client', name, 80, { address: VIP[4] });
        const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
        assert.deepEqual(await statuses(socket, get('/public') + get('/public'), 2), [200, 200]);
        assert.deepEqual(await statuses(socket, get('/x'), 1), [403]);
        assert.deepEqual(traffic.requests(), ['GET /public', 'GET /public']);
      }
    }
  });
}
