import { HEALTH_PORT } from '../../probes/http/index.ts';
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { createBpfDatapath, type Datapath, type DatapathEndpoint } from '../../src/datapath/index.ts';
import { healthEndpointPorts } from '../../src/model/health-ports.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import { Protocol } from '../../src/model/map-state.ts';
import { allow, deny, stateOf } from './datapath-lab.ts';
import type { NetnsLab } from './netns.ts';

const ENDPOINT_ID = 7;
const DEVICE = 'lxc_health';
const CONNTRACK_ENTRIES = 1024;
const ALL = allow('ingress', 0);
/** Echoes to the endpoint, whoever sends them. */
const NO_ECHO = deny('ingress', 0, Protocol.icmp);
/** The canary, which the agent's own policy of health endpoints denies. */
const NO_CANARY = deny('ingress', 0, Protocol.tcp, healthEndpointPorts(HEALTH_PORT).denied);
const ENFORCED = { ingress: true, egress: false };

export interface LabDatapathOptions {
  readonly net: NetnsLab;
  /** Of the node, in the default namespace's list. */
  readonly namespace: string;
  readonly address: string;
  /** Where it pins; on a bpffs. */
  readonly bpfDir: string;
  /** `10.65.0.`: the node's endpoints' range without its last byte. */
  readonly range: string;
}

/** A real datapath of one node as an object of this process, and the node's health endpoint, which it enforces policy on. */
export class LabDatapath {
  readonly #options: LabDatapathOptions;
  readonly #datapath: Datapath;
  readonly endpointNetns: string;
  readonly endpointAddress: string;

  private constructor(options: LabDatapathOptions, endpointNetns: string) {
    const { net, namespace, bpfDir, range } = options;
    this.#options = options;
    this.endpointNetns = endpointNetns;
    this.endpointAddress = `${range}2`;
    const netns = net.path(namespace);
    this.#datapath = createBpfDatapath({ bpfDir, netns, conntrackEntries: CONNTRACK_ENTRIES });
  }

  static async start(options: LabDatapathOptions): Promise<LabDatapath> {
    const { net, namespace } = options;
    const inner = await net.namespace(`${namespace.replace(/^.*-/, '')}e`);
    const made = new LabDatapath(options, inner);
    await made.#link();
    await made.#start();
    return made;
  }

  async #link(): Promise<void> {
    const { net, namespace, range, address } = this.#options;
    const [router, inner] = [`${range}1`, this.endpointAddress];
    await net.ipBatch(namespace, [`link add ${DEVICE} type veth peer name eth0 netns ${this.endpointNetns}`]);
    await net.sysctl(namespace, 'net.ipv4.ip_forward=1');
    await net.sysctl(
      namespace,
      ...['all', 'eth0', DEVICE].map((device) => `net.ipv4.conf.${device}.rp_filter=0`),
    );
    await net.ipBatch(namespace, [
      `link set ${DEVICE} up`,
      `route add ${inner} dev ${DEVICE} src ${address}`,
    ]);
    await net.ipBatch(this.endpointNetns, [
      `address add ${inner}/32 dev eth0`,
      'link set eth0 up',
      `route add ${router} dev eth0 scope link`,
      `route add default via ${router} dev eth0`,
    ]);
  }

  async #start(): Promise<void> {
    const { net, namespace, range, address } = this.#options;
    const endpoint: DatapathEndpoint = {
      id: ENDPOINT_ID,
      identity: ReservedIdentity.health,
      ifindex: loadSockets().interfaceIndex(DEVICE, net.path(namespace)),
      ifname: DEVICE,
      mac: await net.mac(this.endpointNetns, 'eth0'),
      hostMac: await net.mac(namespace, DEVICE),
      ipv4: parseIp(this.endpointAddress),
      ipv6: undefined,
    };
    const lladdr = [...endpoint.mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    const neighbour = `neigh replace ${this.endpointAddress} lladdr ${lladdr} dev ${DEVICE} nud permanent`;
    await net.ipBatch(namespace, [neighbour]);
    await this.#datapath.start({
      addresses: [parseIp(address), parseIp(`${range}1`)],
      podCidrs: [parseCidr('10.65.0.0/16')],
      devices: ['eth0'],
      routerIpv4: parseIp(`${range}1`),
      routerIpv6: undefined,
    });
    await this.#datapath.attachEndpoint(endpoint);
    await this.setPolicy('usual');
  }

  /** The policy of the endpoint: as it should be, denying echoes besides, or open also where it must deny. */
  async setPolicy(policy: 'usual' | 'no-echo' | 'open'): Promise<void> {
    const entries = { usual: [ALL, NO_CANARY], 'no-echo': [ALL, NO_CANARY, NO_ECHO], open: [ALL] }[policy];
    await this.#datapath.applyPolicy(ENDPOINT_ID, stateOf(entries), ENFORCED);
  }

  stop(): Promise<void> {
    return this.#datapath.destroy();
  }
}
