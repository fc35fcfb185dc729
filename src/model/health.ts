import type { IpFamily } from '../base/ip.ts';

/**
 * What the health agents of a cluster tell each other and the user: kinds of paths, their states, a node's row of the
 * matrix, and verdicts. No I/O, no clock: every time is given.
 */

/** Where a probe starts or ends: in the host's network namespace, or in that of the node's health endpoint. */
export type PathEnd = 'host' | 'endpoint';

/**
 * Who answers. `echo`: a BPF program on the peer's device: wire, driver and tc are alive. `icmp`: the kernel of the host
 * or endpoint: its stack is alive. `http`: the peer's health agent. Their difference is the diagnosis.
 */
export type Responder = 'echo' | 'icmp' | 'http';

/**
 * One kind of path that is probed, each over IPv4 and IPv6. A kind that another part of the project adds (a service, a
 * tunnel) is one more row of `PROBE_KINDS`.
 */
export interface ProbeKind {
  /** `host-host/icmp`; never renamed. */
  readonly name: string;
  /** `host-host`, `endpoint-endpoint`, `policy-allowed`: what the user calls the way. */
  readonly pathClass: string;
  readonly from: PathEnd;
  readonly to: PathEnd;
  readonly responder: Responder;
  /** `silence`: a policy denies it, and an answer is the fault. */
  readonly expects: 'answer' | 'silence';
}

function kind(
  pathClass: string,
  from: PathEnd,
  to: PathEnd,
  responder: Responder,
  expects: ProbeKind['expects'] = 'answer',
): ProbeKind {
  return { name: `${pathClass}/${responder}`, pathClass, from, to, responder, expects };
}

/** The index of a kind is its number in rows between nodes (0..15: two bits each of a 32-bit word a family): kinds are only
 * ever appended. */
export const PROBE_KINDS: readonly ProbeKind[] = [
  kind('host-host', 'host', 'host', 'echo'),
  kind('host-host', 'host', 'host', 'icmp'),
  kind('host-host', 'host', 'host', 'http'),
  kind('host-endpoint', 'host', 'endpoint', 'icmp'),
  kind('host-endpoint', 'host', 'endpoint', 'http'),
  kind('endpoint-endpoint', 'endpoint', 'endpoint', 'icmp'),
  kind('endpoint-endpoint', 'endpoint', 'endpoint', 'http'),
  kind('endpoint-host', 'endpoint', 'host', 'icmp'),
  kind('endpoint-host', 'endpoint', 'host', 'http'),
  kind('policy-allowed', 'endpoint', 'endpoint', 'http'),
  kind('policy-denied', 'endpoint', 'endpoint', 'http', 'silence'),
];

/** Index into `PROBE_KINDS` of a name; -1: there is no such kind. */
export function probeKindIndex(name: string): number {
  return PROBE_KINDS.findIndex((kind) => kind.name === name);
}

/** Largest packet that is tried on a path, bytes of IP. */
export const PROBED_MTU_MAX = 9000;

/** One path of this node: a kind, a peer, an address. */
export interface ProbePath {
  /** Name of the node at the other end. */
  readonly peer: string;
  /** Index into `PROBE_KINDS`. */
  readonly kind: number;
  readonly family: IpFamily;
  /** Probed, in text form. */
  readonly address: string;
  /** Whether it is the first address of its family of the node or endpoint. */
  readonly primary: boolean;
}

/** A string that two paths share exactly when they are the same: `n2 host-host/icmp 10.0.0.2`. */
export function probePathKey({ peer, kind: index, address }: Omit<ProbePath, 'primary' | 'family'>): string {
  return `${peer} ${PROBE_KINDS[index]?.name ?? index} ${address}`;
}

/**
 * `unknown`: never probed, cannot be probed here, or not for so long that nothing can be said. `degraded`: answers, with
 * loss or at a latency that is not its own. The numbers are those of rows between nodes.
 */
export const PathStates = { unknown: 0, reachable: 1, degraded: 2, unreachable: 3 } as const;
export type PathState = keyof typeof PathStates;

/** How a path did within a span of time. Failures are in `sent - answered` only, never in the times. */
export interface PathWindow {
  readonly spanMs: number;
  readonly sent: number;
  readonly answered: number;
  /** Genuine answers after their deadline: also counted as not answered. */
  readonly late: number;
  readonly duplicate: number;
  readonly reordered: number;
  /** Round-trip times of answers, kernel to kernel, ns; undefined without an answer. */
  readonly rttNs:
    | { readonly min: number; readonly p50: number; readonly p99: number; readonly max: number }
    | undefined;
  /** How long the responder held the request, by its own clock, ns; undefined where it does not tell. */
  readonly residenceNs: number | undefined;
}

/** Where a probe that was not answered was seen last. */
export interface LossPoint {
  /** Node on which it was seen last. */
  readonly node: string;
  /**
   * Hook of the datapath (`from_pod`, `to_pod`, `from_netdev`, and `to_host`, `from_host` of the node's own policy), of a device
   * (`stamp`, `ingress`, `echo`), `socket` when it was never sent, or `route` when it came from the node's endpoint and the
   * node's kernel has no route for it.
   */
  readonly hook: string;
  /** On its way to the peer, or the answer on its way back. */
  readonly leg: 'request' | 'answer';
  /** Text of the drop reason where a program of ours dropped it, or of the errno where the kernel refused to send. */
  readonly reason: string | undefined;
}

/** What one node knows of one peer, as it is told to the others: fixed size. */
export interface HealthCell {
  readonly peer: string;
  /** Two bits a kind (`PathStates` of `PROBE_KINDS[i]` at bit `2 * i`), a word a family. */
  readonly states: Readonly<Record<IpFamily, number>>;
  /** Median round trip of the first kind that answers, ns, below 2^32; 0: none. */
  readonly rttNs: number;
  /** Probes of all kinds that expect an answer in the last minute, and those not answered: 0..65535. */
  readonly sent: number;
  readonly lost: number;
}

/**
 * What a node found out about one of its paths and the others cannot see in the counts. A row holds those of its gravest
 * faults, `ROW_NOTES_MAX` at most.
 */
export interface RowNote {
  readonly peer: string;
  /** Index into `PROBE_KINDS`. */
  readonly kind: number;
  readonly family: IpFamily;
  readonly fault: FaultKind;
  readonly lossPoint: LossPoint | undefined;
  /** Realtime ms of the node. */
  readonly sinceMs: number;
}

export const ROW_NOTES_MAX = 16;

/** A node's row of the matrix. A greater `(incarnation, version)` replaces a lesser one; only its node makes it. */
export interface HealthRow {
  readonly node: string;
  /** Start of the node's health agent, realtime ms: a restarted agent begins anew at version 1. */
  readonly incarnation: number;
  readonly version: number;
  /** When the row was made, realtime ms of its node: for telling, never for measuring. */
  readonly atMs: number;
  /** Cells by peer. Peers that the node does not observe have none. */
  readonly cells: ReadonlyMap<string, HealthCell>;
  readonly notes: readonly RowNote[];
  /** Since we took these notes, by our own monotonic clock; undefined: they are our own. */
  readonly notesAgeMs?: number | undefined;
}

/** The rows of the cluster as one node holds them. */
export interface MatrixView {
  /** All nodes of the node list, by name, our own among them; `zone` as the node list tells it. */
  readonly nodes: readonly { readonly name: string; readonly zone: string | undefined }[];
  readonly self: string;
  row(node: string): HealthRow | undefined;
  /** Since we took the row, by our own monotonic clock; undefined: never. */
  ageMs(node: string): number | undefined;
}

/** One path of this node with all that is known of it. */
export interface PathReport {
  readonly path: ProbePath;
  readonly state: PathState;
  /** Since when it is in this state, realtime ms. */
  readonly sinceMs: number;
  /** Why it is not reachable, for people. */
  readonly reason: string | undefined;
  /** The last minute. */
  readonly window: PathWindow;
  /** Realtime ms; undefined: never. */
  readonly lastProbedMs: number | undefined;
  readonly lastAnsweredMs: number | undefined;
  readonly lossPoint: LossPoint | undefined;
  /** Bytes of IP; undefined: not measured. */
  readonly pathMtu: number | undefined;
  readonly blackHole: boolean;
  /** HTTP: parts of the last answer, ns: `network` (the kernel's), `connect`, `firstByte`, `total`. */
  readonly phasesNs: Readonly<Record<string, number>> | undefined;
}

/** A change of a path's state, as the history keeps it. */
export interface PathChange {
  readonly path: ProbePath;
  readonly from: PathState;
  readonly to: PathState;
  readonly atMs: number;
  readonly reason: string | undefined;
  readonly lossPoint: LossPoint | undefined;
}

export function cellState(cell: HealthCell, family: IpFamily, kindIndex: number): PathState {
  const code = (cell.states[family] >>> (2 * kindIndex)) & 3;
  return STATE_NAMES[code] ?? 'unknown';
}

const STATE_NAMES: readonly PathState[] = ['unknown', 'reachable', 'degraded', 'unreachable'];

/** What is broken. Each has one text and one next step in `src/view`. */
export const FAULT_KINDS = [
  'node-down',
  'agent-hung',
  'stack-hung',
  'loss',
  'slow',
  'mtu-black-hole',
  'policy-drop',
  'route-missing',
  'nic-drop',
  'drop',
  'icmp-filtered',
  'http-filtered',
  'echo-filtered',
  'canary-open',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Where it is broken. `observer`: the node that complains is the fault. */
export type FaultPlace =
  | { readonly kind: 'node'; readonly node: string; readonly direction: 'both' | 'send' | 'receive' }
  | { readonly kind: 'pair'; readonly from: string; readonly to: string }
  | { readonly kind: 'zone'; readonly zone: string }
  | { readonly kind: 'zone-pair'; readonly from: string; readonly to: string }
  | { readonly kind: 'path-class'; readonly pathClass: string }
  | { readonly kind: 'observer'; readonly node: string };

export interface HealthVerdict {
  readonly fault: FaultKind;
  readonly place: FaultPlace;
  /** Names of `PROBE_KINDS` and families that show it; empty: all. */
  readonly kinds: readonly string[];
  readonly families: readonly IpFamily[];
  readonly lossPoint: LossPoint | undefined;
  /** Since when, realtime ms of the node that says so. */
  readonly sinceMs: number;
  /** 0..1: how likely the places named, and not chance, explain what was seen. */
  readonly confidence: number;
  /** What it rests on: probes that the place explains, and those that it does not. */
  readonly evidence: {
    readonly observers: number;
    readonly sent: number;
    readonly lost: number;
    readonly against: number;
  };
}

/** What the cluster's health comes to; `unknown` is not `healthy`. */
export interface HealthDiagnosis {
  readonly state: 'healthy' | 'degraded' | 'broken' | 'unknown';
  /** Most certain and gravest first. */
  readonly verdicts: readonly HealthVerdict[];
  /** Nodes whose row is missing or too old, and for how long (ms). */
  readonly silent: readonly { readonly node: string; readonly ageMs: number | undefined }[];
  readonly atMs: number;
}
