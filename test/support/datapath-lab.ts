import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBpf } from '../../bpf/addon/index.ts';
import { createIcmpProbe } from '../../probes/icmp/index.ts';
import type { ProbeResult } from '../../probes/types.ts';
import { PROXY_ROUTING } from '../../src/agent/ip-network-setup.ts';
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { createBpfDatapath } from '../../src/datapath/index.ts';
import type { Datapath, DatapathEndpoint, DatapathNode } from '../../src/datapath/types.ts';
import { PacketMark } from '../../src/model/constants.gen.ts';
import type { MonitorEvent } from '../../src/model/event.ts';
import {
  type MapState,
  type MapStateEntry,
  type MapStateKey,
  mapStateKeyText,
} from '../../src/model/map-state.ts';
import { NetnsLab } from './netns.ts';

export const ROUTER4 = '10.66.0.1';
export const ROUTER6 = 'fd66::1';
export const NODE4 = '192.168.66.1';
export const NODE6 = 'fd99::1';
export const REMOTE4 = '192.168.66.2';
export const REMOTE6 = 'fd99::2';
export const REMOTE_IDENTITY = 6;
const PING_TIMEOUT_MS = 600;

export interface Pod {
  readonly namespace: string;
  readonly endpoint: DatapathEndpoint;
  readonly ipv4: string;
  readonly ipv6: string;
}

export function allow(
  direction: 'ingress' | 'egress',
  identity: number,
  protocol = 0,
  port = 0,
): { key: MapStateKey; entry: MapStateEntry } {
  return {
    key: { direction, identity, protocol, port, portPrefixLength: port === 0 ? 0 : 16 },
    entry: { verdict: { kind: 'allow' }, precedence: 1, ruleId: 7 },
  };
}

export function deny(
  direction: 'ingress' | 'egress',
  identity: number,
  protocol = 0,
  port = 0,
): { key: MapStateKey; entry: MapStateEntry } {
  const { key, entry } = allow(direction, identity, protocol, port);
  return { key, entry: { ...entry, verdict: { kind: 'deny' }, precedence: 255 } };
}

export function redirect(
  direction: 'ingress' | 'egress',
  identity: number,
  protocol: number,
  port: number,
  proxyPort: number,
): { key: MapStateKey; entry: MapStateEntry } {
  const { key, entry } = allow(direction, identity, protocol, port);
  return { key, entry: { ...entry, verdict: { kind: 'redirect', proxyPort }, precedence: 2, ruleId: 8 } };
}

export function stateOf(entries: readonly { key: MapStateKey; entry: MapStateEntry }[]): MapState {
  return new Map(entries.map((item) => [mapStateKeyText(item.key), item]));
}

/** A node, its pods and a machine on the wire beside it, each in a network namespace, and a real datapath on the node. */
export class DatapathLab {
  readonly net: NetnsLab;
  readonly events: MonitorEvent[] = [];
  datapath!: Datapath;
  node = '';
  remote = '';
  #mount = '';

  constructor(letter = 'd') {
    this.net = new NetnsLab(letter);
  }

  get bpfDir(): string {
    return join(this.#mount, 'node');
  }

  async start(): Promise<void> {
    this.#mount = mkdtempSync(join(tmpdir(), 'ciliate-dp-'));
    loadBpf().mountBpffs(this.#mount);
    this.node = await this.net.namespace('node');
    this.remote = await this.net.namespace('remote');
    await this.net.veth(
      { name: 'wire', netns: this.node, addresses: [`${NODE4}/24`, `${NODE6}/64`] },
      { name: 'eth0', netns: this.remote, addresses: [`${REMOTE4}/24`, `${REMOTE6}/64`] },
    );
    await this.sysctl(this.node, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    await this.net.ip('-n', this.remote, 'route', 'add', '10.66.0.0/16', 'via', NODE4);
    await this.net.ip('-n', this.remote, 'route', 'add', 'fd66::/64', 'via', NODE6);
    for (const family of ['-4', '-6']) await this.#routeToProxy(family);
    this.datapath = this.createDatapath();
    await this.datapath.start(this.nodeFacts);
    await this.datapath.upsertIpcache([
      { prefix: parseCidr(`${REMOTE4}/32`), identity: REMOTE_IDENTITY, tunnelEndpoint: undefined },
      { prefix: parseCidr(`${REMOTE6}/128`), identity: REMOTE_IDENTITY, tunnelEndpoint: undefined },
    ]);
  }

  /** As the agent's IpNetworkSetup does. */
  async #routeToProxy(family: string): Promise<void> {
    const table = ['table', String(PROXY_ROUTING.table)];
    await this.net.ip('-n', this.node, family, 'route', 'add', 'local', 'default', 'dev', 'lo', ...table);
    const marked = ['fwmark', `${PacketMark.toProxy}/${PacketMark.mask}`];
    const preference = ['pref', String(PROXY_ROUTING.preference)];
    await this.net.ip('-n', this.node, family, 'rule', 'add', ...marked, ...table, ...preference);
  }

  get nodeFacts(): DatapathNode {
    return {
      addresses: [NODE4, NODE6, ROUTER4, ROUTER6].map(parseIp),
      podCidrs: ['10.66.0.0/16', 'fd66::/64'].map(parseCidr),
      devices: ['wire'],
      routerIpv4: parseIp(ROUTER4),
      routerIpv6: parseIp(ROUTER6),
    };
  }

  createDatapath(): Datapath {
    const datapath = createBpfDatapath({
      bpfDir: this.bpfDir,
      netns: this.net.path(this.node),
      conntrackEntries: 4096,
    });
    datapath.onEvents({ take: (events) => this.events.push(...events), wantsDrops: () => true });
    return datapath;
  }

  async sysctl(namespace: string, ...settings: readonly string[]): Promise<void> {
    await this.net.sysctl(namespace, ...settings);
  }

  /** A namespace with addresses and routes as an agent would give it, and its entry for the datapath; not attached. */
  async pod(id: number, identity: number): Promise<Pod> {
    const namespace = await this.net.namespace(`p${id}`);
    const device = `lxc${id}`;
    const [ipv4, ipv6] = [`10.66.0.${id}`, `fd66::${id.toString(16)}`];
    await this.net.veth(
      { name: device, netns: this.node },
      { name: 'eth0', netns: namespace, addresses: [`${ipv4}/32`, `${ipv6}/128`] },
    );
    const { ip } = this.net;
    await this.sysctl(
      this.node,
      `net.ipv4.conf.${device}.rp_filter=0`,
      `net.ipv4.conf.${device}.accept_local=1`,
    );
    await ip('-n', namespace, 'route', 'add', 'default', 'via', ROUTER4, 'dev', 'eth0', 'onlink');
    await ip('-n', namespace, 'route', 'add', ROUTER6, 'dev', 'eth0');
    await ip('-n', namespace, '-6', 'route', 'add', 'default', 'via', ROUTER6, 'dev', 'eth0');
    await ip('-n', this.node, 'route', 'add', ipv4, 'dev', device, 'src', NODE4);
    await ip('-n', this.node, 'route', 'add', ipv6, 'dev', device, 'src', NODE6);
    const mac = await this.mac(namespace, 'eth0');
    const lladdr = [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    for (const address of [ipv4, ipv6]) {
      const permanent = ['lladdr', lladdr, 'dev', device, 'nud', 'permanent'];
      await ip('-n', this.node, 'neigh', 'replace', address, ...permanent);
    }
    const endpoint: DatapathEndpoint = {
      id,
      identity,
      ifindex: loadSockets().interfaceIndex(device, this.net.path(this.node)),
      ifname: device,
      mac,
      hostMac: await this.mac(this.node, device),
      ipv4: parseIp(ipv4),
      ipv6: parseIp(ipv6),
    };
    return { namespace, endpoint, ipv4, ipv6 };
  }

  mac(namespace: string, device: string): Promise<Uint8Array> {
    return this.net.mac(namespace, device);
  }

  /** One echo; what the kernel's socket heard of it. */
  async probe(namespace: string, address: string, payloadBytes = 56): Promise<ProbeResult> {
    const probe = createIcmpProbe({
      netns: this.net.path(namespace),
      timeoutMs: PING_TIMEOUT_MS,
      payloadBytes,
    });
    await probe.start();
    try {
      return await probe.probe(address);
    } finally {
      await probe.stop();
    }
  }

  async ping(namespace: string, address: string, payloadBytes?: number): Promise<boolean> {
    return (await this.probe(namespace, address, payloadBytes)).kind === 'reply';
  }

  async cleanUp(): Promise<void> {
    try {
      await this.datapath?.destroy();
    } finally {
      await this.net.cleanUp();
      if (this.#mount !== '') {
        loadBpf().unmountBpffs(this.#mount);
        rmSync(this.#mount, { recursive: true });
      }
    }
  }
}
