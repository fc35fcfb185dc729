import assert from 'node:assert/strict';
import type { Socket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Datapath } from '../../src/datapath/types.ts';
import type { LocalStore } from '../../src/store/index.ts';
import { DatapathLab, type Pod, REMOTE4 } from '../support/datapath-lab.ts';
import { createLiveAgent, endpointRequest, type LiveAgent, liveStore } from '../support/live-agent.ts';
import { NetSockets } from '../support/net-sockets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { until } from './agent-fixture.ts';

const PORT = 9000;
/** How long datagrams are sent, one each 2 ms. */
const SENDING_MS = 400;
const WEB = 10;
const RULE = JSON.stringify([
  {
    endpointSelector: { matchLabels: { 'k8s:role': 'web' } },
    ingress: [{ fromEntities: ['all'] }],
    ingressDeny: [{ fromEndpoints: [{ matchLabels: { 'k8s:role': 'denied' } }] }],
  },
]);

/** What is done before a policy map is written. */
type Fault = (id: number) => Promise<void> | void;

function faulty(datapath: Datapath, fault: { now: Fault }): Datapath {
  return new Proxy(datapath, {
    get(target, name: keyof Datapath) {
      const member = target[name];
      if (typeof member !== 'function') return member;
      const call = member.bind(target) as (...args: unknown[]) => unknown;
      if (name !== 'applyPolicy') return call;
      return async (...args: Parameters<Datapath['applyPolicy']>) => {
        await fault.now(args[0]);
        return call(...args);
      };
    },
  });
}

describe('packets of somebody new, whom a policy denies', { skip: bpfOrSkip(), timeout: 120_000 }, () => {
  const lab = new DatapathLab('o');
  const sockets = new NetSockets();
  const folder = mkdtempSync(join(tmpdir(), 'ciliate-order-'));
  const fault: { now: Fault } = { now: () => undefined };
  const got: string[] = [];
  let live: LiveAgent;
  let store: LocalStore;
  let web: Pod;
  let next = 20;
  let release = (): void => undefined;

  before(async () => {
    await lab.start();
    await lab.datapath.stop();
    live = createLiveAgent(lab, folder, (datapath) => faulty(datapath, fault));
    await live.agent.start();
    store = liveStore(live.storeFile);
    await store.start();
    await store.putNode({
      name: 'n2',
      ipv4: REMOTE4,
      ipv6: undefined,
      ipv4AllocRange: '10.66.1.0/24',
      ipv6AllocRange: undefined,
      ipv4HealthIp: undefined,
      ipv6HealthIp: undefined,
    });
    await lab.net.ip('-n', lab.node, 'route', 'add', '10.66.1.0/24', 'via', REMOTE4);
    web = await lab.pod(WEB, 0);
    await put(web, 'web');
    const server = await sockets.udp(lab.net.path(web.namespace), web.ipv4, PORT);
    server.on('message', (text) => got.push(String(text)));
    await live.client.putPolicy(RULE);
    await webIs('ready');
  });
  after(async () => {
    letGo();
    sockets.close();
    await store?.stop();
    await live?.agent.stop();
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    letGo();
    await webIs('ready');
    got.splice(0);
  });

  const put = (pod: Pod, role: string, more = {}) =>
    live.client.putEndpoint(String(pod.endpoint.id), {
      ...endpointRequest(role, { ...pod.endpoint, name: pod.endpoint.ifname, ipv4: pod.ipv4 }),
      ...more,
    });
  const endpoint = (id: number) => live.agent.manager.list().find((one) => one.id === id);
  const webIs = (state: string) => until(`web is ${state}`, () => endpoint(WEB)?.state === state);

  const heard = (text: string): boolean => got.includes(text);

  async function send(from: Socket, text: string, ms = SENDING_MS): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      from.send(text, PORT, web.ipv4);
      await delay(2);
    }
  }

  /** Another machine's pod, as its node tells of it. */
  async function remotePod(role: string): Promise<Socket> {
    const address = `10.66.1.${next++}`;
    await lab.net.ip('-n', lab.remote, 'address', 'add', `${address}/32`, 'dev', 'eth0');
    const socket = await sockets.udp(lab.net.path(lab.remote), address);
    const identity = await store.allocateIdentity([{ source: 'k8s', key: 'role', value: role }]);
    const cidr = `${address}/32`;
    await store.putIps([{ cidr, identity: identity.id, node: 'n2', hostIp: REMOTE4 }]);
    await until('this node was told', async () =>
      (await live.client.ips({ cidr })).some((line) => line.identity === identity.id),
    );
    return socket;
  }

  async function localPod(role: string): Promise<{ id: number; socket: Socket }> {
    const id = next++;
    const pod = await lab.pod(id, 0);
    await put(pod, role, { 'sync-build-endpoint': false });
    return { id, socket: await sockets.udp(lab.net.path(pod.namespace), pod.ipv4) };
  }

  /** Writes for `web` wait until `letGo`. */
  function late(): void {
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    fault.now = (id) => (id === WEB ? gate : undefined);
  }

  function letGo(): void {
    fault.now = () => undefined;
    release();
  }

  async function deleteRule(): Promise<void> {
    await live.client.deletePolicy([]);
    await live.client.putPolicy(RULE.replaceAll('denied', `denied${next}`));
    await webIs('ready');
  }

  for (const [where, come] of [
    ['of another node', async (role: string) => ({ socket: await remotePod(role), id: undefined })],
    ['of this node', localPod],
  ] as const) {
    it(`never pass from a pod ${where} while the policy map that denies it is late`, async () => {
      await deleteRule();
      const role = `denied${next}`;
      late();
      const { socket } = await come(role);
      await send(socket, 'early');
      assert.deepEqual(got, []);
      const going = send(socket, 'later');
      await delay(SENDING_MS / 4);
      letGo();
      await going;
      await webIs('ready');
      await send(socket, 'after');
      assert.deepEqual(got, []);
    });

    it(`never pass from a pod ${where} while that map cannot be written, and nobody else's do then`, async () => {
      const { socket: friend } = await come('friend');
      await until('its friend gets through', async () => {
        await send(friend, 'friend', 10);
        return heard('friend');
      });
      await deleteRule();
      const role = `denied${next}`;
      fault.now = (id) => {
        if (id === WEB) throw new Error('no memory');
      };
      const { socket } = await come(role);
      await until('web is closed', () => endpoint(WEB)?.state === 'not-ready');
      await send(socket, 'early');
      assert.ok(!heard('early'));
      got.splice(0);
      await send(friend, 'friend');
      assert.deepEqual(got, [], 'what cannot be written is closed');
      fault.now = () => undefined;
      const going = send(socket, 'later', 3 * SENDING_MS);
      await webIs('ready');
      await going;
      assert.deepEqual(got, []);
      await until('its friend gets through again', async () => {
        await send(friend, 'friend', 10);
        return heard('friend');
      });
    });

    it(`pass from a pod ${where} whom nothing denies, once every map knows it`, async () => {
      const { socket } = await come(`other${next}`);
      await until('it gets through', async () => {
        await send(socket, 'other', 10);
        return heard('other');
      });
    });
  }
});
