import type { NumericIdentity } from './identity.ts';
import type { AccessLogRecord } from './l7.ts';
import type { Direction } from './map-state.ts';

/** Fields that every record of the datapath carries. Times are nanoseconds of CLOCK_MONOTONIC, as decimal text (u64). */
interface PacketEvent {
  readonly monotonicNs: string;
  readonly cpu: number;
  /** Local endpoint id at whose hook the packet was seen; 0 when none. */
  readonly source: number;
  /** Flow hash of the packet. */
  readonly hash: number;
  readonly srcIdentity: NumericIdentity;
  readonly dstIdentity: NumericIdentity;
  /** Local endpoint id of the destination; 0 when it is not local. */
  readonly dstEndpoint: number;
  readonly ifindex: number;
  /** Bytes of the packet on the wire. */
  readonly lengthBytes: number;
  /** `src:port -> dst:port tcp SYN`, dissected from the captured head. */
  readonly summary: string;
  /** Captured head of the packet from the Ethernet header on, hexadecimal. */
  readonly capture: string;
}

export interface DropEvent extends PacketEvent {
  readonly kind: 'drop';
  /** Code of the drop reason (130..205). */
  readonly reason: number;
  readonly direction: Direction;
}

export interface TraceEvent extends PacketEvent {
  readonly kind: 'trace';
  /** 0 to-endpoint, 2 to-host, 3 to-stack, 5 from-endpoint, 7 from-host, 8 from-stack, 10 from-network, 11 to-network ... */
  readonly observationPoint: number;
  /** 0 new, 1 established, 2 reply, 3 related, 4 reopened, 5 unknown. */
  readonly state: number;
  /** IANA number of the flow's protocol. */
  readonly protocol: number;
  /** The port by which policy judges the flow, host order; of ICMP the type. */
  readonly destinationPort: number;
}

export interface PolicyVerdictEvent extends PacketEvent {
  readonly kind: 'policy-verdict';
  readonly direction: Direction;
  readonly remoteIdentity: NumericIdentity;
  /** < 0: drop reason, 0: allowed, > 0: proxy port. */
  readonly verdict: number;
  /** 0 none, 1 L3-Only, 2 L3-L4, 3 L4-Only, 4 all, 5 L3-Proto, 6 Proto-Only. */
  readonly match: number;
  readonly protocol: number;
  /** Host order. */
  readonly destinationPort: number;
  readonly ruleId: number;
  /** It refuses, and the packet passed all the same: the endpoint's policy is only audited. */
  readonly audited?: boolean;
}

/** Something the agent did: `subtype` is the text after `>> ` in `monitor`. */
export interface AgentEvent {
  readonly kind: 'agent';
  readonly subtype: string;
  readonly message: Readonly<Record<string, unknown>>;
}

/** Events that were lost, and where. */
export interface LostEvent {
  readonly kind: 'lost';
  /** `proxy`: access log records that the agent was too slow for. */
  readonly source: 'ring' | 'listener' | 'proxy';
  readonly count: number;
}

export type MonitorEvent =
  | DropEvent
  | TraceEvent
  | PolicyVerdictEvent
  | AgentEvent
  | LostEvent
  | AccessLogRecord;
