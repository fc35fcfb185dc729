import { formatIp, type IpBytes, parseIp } from '../base/ip.ts';
import { DatapathLimit } from './constants.gen.ts';

export type ServiceProtocol = 'TCP' | 'UDP' | 'SCTP';
export type ServiceType = 'ClusterIP' | 'NodePort' | 'ExternalIPs' | 'LoadBalancer' | 'HostPort';
/** Only active ones take new flows; terminating ones keep those that they have; others have none. */
export type BackendState = 'active' | 'terminating' | 'quarantined' | 'maintenance';

/** Most backends of a frontend: all that the datapath has room for. */
export const MAX_BACKENDS = DatapathLimit.backends;
export const MAX_AFFINITY_SECONDS = 86_400;

export interface ServiceFrontend {
  /** Zeros stand for every address of every node (a NodePort), of their family. */
  readonly address: IpBytes;
  /** 1..65535 */
  readonly port: number;
  readonly protocol: ServiceProtocol;
}

export interface ServiceBackend {
  /** Of the frontend's family: the datapath translates no family into the other. */
  readonly address: IpBytes;
  /** 1..65535 */
  readonly port: number;
  readonly state: BackendState;
}

/** One frontend with its backends: what Cilium's API calls a service. */
export interface Service {
  /** 1..65535, of this node; another name for what `bpf lb list` calls REVNAT_ID. */
  readonly id: number;
  readonly type: ServiceType;
  /** Of the Kubernetes object; empty where it came without one. */
  readonly name: string;
  readonly namespace: string;
  readonly frontend: ServiceFrontend;
  readonly backends: readonly ServiceBackend[];
  /** How long a client keeps its backend after its last new flow, in seconds, 0..86400; 0: it does not. */
  readonly affinitySeconds: number;
  /** Its backends are those of this node alone: others have other ones. Default: they are those of all nodes. */
  readonly onlyLocal?: boolean | undefined;
}

/** What tells frontends apart: `10.96.0.10:80/TCP`, `[fd00::1]:53/UDP`. */
export function frontendKey({ address, port, protocol }: ServiceFrontend): string {
  const text = formatIp(address);
  return `${address.length === 4 ? text : `[${text}]`}:${port}/${protocol}`;
}

export function isUnspecified(address: IpBytes): boolean {
  return address.every((byte) => byte === 0);
}

/** Whom a pod that is its own backend sees as its client: `SERVICE_LOOP4` and `SERVICE_LOOP6_*` of the programs. */
const LOOP_ADDRESSES = ['169.254.42.1', 'fd63:696c::1'].map((text) => formatIp(parseIp(text)));

/**
 * Whether packets of pods can go there: not a group, not a loopback, not what stands for a pod to itself, not an IPv4
 * address in the dress of IPv6.
 */
export function isServiceAddress(address: IpBytes): boolean {
  const [first = 0] = address;
  if (LOOP_ADDRESSES.includes(formatIp(address))) return false;
  if (address.length === 4) return first !== 127 && first < 224;
  const start = address.subarray(0, 10).every((byte) => byte === 0);
  const isMapped = start && address[10] === 0xff && address[11] === 0xff;
  const isLoopback = address.subarray(0, 15).every((byte) => byte === 0) && address[15] === 1;
  return first !== 0xff && !isMapped && !isLoopback;
}
