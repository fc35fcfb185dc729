import { SystemError } from '../../src/base/errors.ts';
import type { IpFamily } from '../../src/base/ip.ts';
import type { Waypoint } from '../../src/base/waypoint.ts';
import type { Handshakes, ProbeReadiness } from '../types.ts';

/**
 * The contract of the probe engine: a native thread that sends on time, matches answers and keeps one record a path.
 * JavaScript opens paths and reads records: a blocked event loop changes no number and no send time.
 */

/** Who stamps and counts: BPF programs on the devices, the kernel's socket stamps on raw sockets, or on datagram ones. */
export type EngineMode = 'bpf' | 'raw' | 'datagram';

/** All paths that the engine has memory for are taken: one more can be opened when another was closed. */
export class EngineFullError extends SystemError {
  constructor(pathsMax: number) {
    super(`no room for more than ${pathsMax} paths`, { code: 'ENGINE_FULL' });
  }
}

/** How a path is probed. */
export interface EnginePath {
  /** Text form, without a zone. */
  readonly address: string;
  /** `icmp`: ICMP echo, answered by the peer's stack. `echo`: UDP to port 4240, answered by the peer's BPF program. */
  readonly responder: 'icmp' | 'echo';
  /** Index of `EngineOptions.origins`: from where it is sent. */
  readonly origin: number;
  /** From one probe to the next; 0: only when asked by `burst`, without bursts of its own. */
  readonly periodMs: number;
  /**
   * Probes take the engine's flows in turn, so that they spread over the ways of ECMP: `echo` its source ports, and over
   * IPv6 both responders its flow labels (of datagram sockets only `echo`). Default: one flow.
   */
  readonly rotate?: boolean | undefined;
  /** Bytes of the IP packet; the least possible by default. Not fragmented. */
  readonly packetBytes?: number | undefined;
}

/** A network namespace and addresses that probes leave from. */
export interface EngineOrigin {
  /** Open descriptor of the namespace; undefined: the process's own. The engine does not close it. */
  readonly netnsFd?: number | undefined;
  /** Source addresses, at most one a family. */
  readonly sources?: readonly string[] | undefined;
  /**
   * Indices, in that namespace, of the devices that probes leave by: programs stamp there. Without any, or where BPF may
   * not be used, the kernel's socket stamps are taken, for as long as the engine lives. `setDevices` changes them.
   */
  readonly devices?: readonly number[] | undefined;
}

export interface EngineOptions {
  readonly origins: readonly EngineOrigin[];
  readonly mode?: 'auto' | EngineMode | undefined;
  /** An answer later than this counts as late, not as an answer. Default 1000. */
  readonly timeoutMs?: number | undefined;
  /** What is due within one turn leaves in one batch. Default 20. */
  readonly turnMs?: number | undefined;
  /** Packets a second at most; what is due beyond it waits, and counts in `self().deferred`. Default 20,000. */
  readonly packetsPerSecond?: number | undefined;
  /**
   * CPU that the thread may use, percent of one core, 1..100. What is due beyond it waits likewise; what has come in is
   * read all the same. Default 100: no bound.
   */
  readonly cpuPercent?: number | undefined;
  /**
   * After a first probe without an answer within `softTimeoutMs`, or with an error instead of one, this many more follow at once,
   * `burstSpacingMs` apart, by the thread itself. Defaults 5 and 10; 0 for none.
   */
  readonly burst?: number | undefined;
  readonly burstSpacingMs?: number | undefined;
  /** Least soft deadline; a path's own is 4 times its longest recent round trip, at most `timeoutMs`. Default 50. */
  readonly softTimeoutMs?: number | undefined;
  /** Source ports of `echo` probes, 1..64. Default 16. */
  readonly flows?: number | undefined;
  /** Echoes that our responder gives one address in a second. Default 2,000. */
  readonly echoesPerSecond?: number | undefined;
  /** Port of the peers that requests go to, host order: programs note the handshakes of marked sockets with it. Default 4240. */
  readonly tcpPort?: number | undefined;
  /** DSCP of the probes, 0..63. Default 0: as ordinary traffic. */
  readonly dscp?: number | undefined;
  /** Paths at most; memory of records is taken for all of them at start. Default 65,536. */
  readonly pathsMax?: number | undefined;
  /** Number of each path's first probe, 32 bits, for tests of what happens at their end. Default 1. */
  readonly firstSequence?: number | undefined;
  /** Told why programs got no memory for records of more paths, which are refused meanwhile; the same is told once. */
  readonly onNoRecords?: ((reason: string) => void) | undefined;
}

/** Counts of one path since it was opened. */
export interface PathCounts {
  /** But those whose answers our own buffers may have dropped: nobody knows what became of them. */
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly late: number;
  readonly duplicate: number;
  readonly reordered: number;
  /** Answers that were seen and could not be timed. */
  readonly unstamped: number;
  /** Sends that the kernel refused, and ICMP errors about probes. */
  readonly failed: number;
  /** Answers by a BPF responder. */
  readonly echoed: number;
  readonly rttSumNs: number;
  /** Longest since the last `takeMax`. */
  readonly rttMaxNs: number;
  readonly rttLastNs: number;
  readonly residenceSumNs: number;
  /** Monotonic ns, 0: never. */
  readonly sentLastNs: number;
  readonly answeredLastNs: number;
  /** Probes in a row without an answer, up to now. */
  readonly lostInARow: number;
  readonly hopLimitLast: number;
  /** 96 counts, see `bucketEdgeNs`. A view of live memory: copy what is to be kept. */
  readonly histogram: Uint32Array;
}

/** Counts that go on. */
export type LiveCounts = { -readonly [K in keyof PathCounts]: PathCounts[K] };

/** Counts of a path of which nothing was sent yet. @param histogram all 0 */
export function noCounts(histogram = new Uint32Array(HISTOGRAM_BUCKETS)): LiveCounts {
  return {
    sent: 0,
    answered: 0,
    lost: 0,
    late: 0,
    duplicate: 0,
    reordered: 0,
    unstamped: 0,
    failed: 0,
    echoed: 0,
    rttSumNs: 0,
    rttMaxNs: 0,
    rttLastNs: 0,
    residenceSumNs: 0,
    sentLastNs: 0,
    answeredLastNs: 0,
    lostInARow: 0,
    hopLimitLast: 0,
    histogram,
  };
}

/** Puts all counts in the place of others; both have one histogram from then on. */
export function copyCounts(from: PathCounts, into: LiveCounts): void {
  into.sent = from.sent;
  into.answered = from.answered;
  into.lost = from.lost;
  into.late = from.late;
  into.duplicate = from.duplicate;
  into.reordered = from.reordered;
  into.unstamped = from.unstamped;
  into.failed = from.failed;
  into.echoed = from.echoed;
  into.rttSumNs = from.rttSumNs;
  into.rttMaxNs = from.rttMaxNs;
  into.rttLastNs = from.rttLastNs;
  into.residenceSumNs = from.residenceSumNs;
  into.sentLastNs = from.sentLastNs;
  into.answeredLastNs = from.answeredLastNs;
  into.lostInARow = from.lostInARow;
  into.hopLimitLast = from.hopLimitLast;
  into.histogram = from.histogram;
}

/** What happened on a path that JavaScript must hear of at once; ordinary answers make no event. */
export type EngineEventKind =
  /** A probe has no answer within the soft deadline, or an error: a burst has begun. */
  | 'suspect'
  /** No probe of the burst, nor the one before it, was answered. */
  | 'silent'
  /** The first answer after `suspect` or `silent`, or ever. */
  | 'answer'
  /** An ICMP error or a refused send; `errno`, and who sent it. */
  | 'error';

export interface EngineEvent {
  readonly kind: EngineEventKind;
  readonly path: number;
  readonly atNs: number;
  /** `error` only. */
  readonly errno: number | undefined;
  /** `error` only: text form; undefined: our own kernel. */
  readonly offender: string | undefined;
  /** `error` only: next-hop MTU of "too big", else 0. */
  readonly mtu: number;
}

export interface EngineDevice {
  readonly origin: number;
  readonly ifindex: number;
  /** Undefined: programs stand there. */
  readonly reason: string | undefined;
}

/** What the engine itself costs and loses. */
export interface EngineSelf {
  readonly mode: Readonly<Record<IpFamily, ProbeReadiness>>;
  /** Whether programs stamp, and if not, why. */
  readonly programs: ProbeReadiness;
  /** Where they stand, or why they do not: answers that come by such a device count and have no time. */
  readonly devices: readonly EngineDevice[];
  readonly paths: number;
  /** Openings that were refused, for all paths were taken, or programs got no memory for more. */
  readonly refused: number;
  readonly sent: number;
  /** Of those: that began at the device, by programs, as the kernel had sent others of their path. */
  readonly shortCuts: number;
  /** CPU of the thread, ns, and of the programs where BPF statistics are on. */
  readonly cpuNs: number;
  readonly bpfNs: number | undefined;
  /** Replies that our own socket buffers had no room for: our fault, not the path's. */
  readonly ownDrops: number;
  /** Answers of the echo responder to others; what it refused of them. */
  readonly echoes: number;
  readonly echoesRefused: number;
  readonly foreign: number;
  readonly corrupt: number;
  /** Probes that left later than their turn because the budget was used up. */
  readonly deferred: number;
  /** How late turns began: longest since the last call, ns. */
  readonly lagMaxNs: number;
  readonly clockSteps: number;
}

export interface ProbeEngine extends Handshakes {
  /** @throws SystemError, NotPermittedError when no mode works for any family */
  start(): Promise<void>;
  /** Ends the thread, detaches programs, closes sockets. May be called twice. */
  stop(): Promise<void>;
  /** Of an origin, the first by default. */
  readiness(family: IpFamily, responder: EnginePath['responder'], origin?: number): ProbeReadiness;
  /** @returns index of the path, reused after `close`. @throws UsageError for a bad address, EngineFullError */
  open(path: EnginePath): number;
  /** The same. @returns undefined when there is no room for more. @throws UsageError for a bad address */
  tryOpen(path: EnginePath): number | undefined;
  close(index: number): void;
  /** Changes the period; takes effect at the next turn. */
  pace(index: number, periodMs: number): void;
  /** Sends `count` probes `spacingMs` apart, besides the period's. */
  burst(index: number, count: number, spacingMs: number): void;
  counts(index: number): PathCounts;
  /** The same into the caller's memory, without any garbage: for who reads many paths again and again. */
  readCounts(index: number, into: LiveCounts): void;
  /** Lets the thread read what has come in now, and not with its next turn: for who looks more often than that. */
  wake(): void;
  /** Puts the path's longest round trip back to 0. */
  takeMax(index: number): number;
  /** Addresses of nodes that our echo responder answers, and ours at which it does; all others get nothing. */
  setPeers(addresses: readonly string[], own: readonly string[]): void;
  /**
   * Devices of an origin that programs stand on from now on, and on no other ones. Without programs it does nothing; a
   * device that does not take them is told by `self` and tried again at the next call.
   */
  setDevices(origin: number, devices: readonly number[]): void;
  onEvents(listener: (events: readonly EngineEvent[]) => void): void;
  /** Random, of this start: in the cookies of its probes. */
  readonly prober: number;
  /** Where probes of a path, whoever sent them, were seen on our devices; nothing without programs. */
  waypoints(path: { readonly prober: number; readonly path: number }): readonly Waypoint[];
  /** When an echo was asked for last from an address, monotonic ns; 0: never, or nobody saw it. */
  heardNs(address: string): number;
  /** When the last probes of a path left us, by the stamps of their departures, monotonic ns, in no order. */
  departuresNs(index: number): readonly number[];
  self(): EngineSelf;
}

export const HISTOGRAM_BUCKETS = 96;
/** The histogram of all paths without answers: nobody writes it. */
export const NO_ANSWERS = new Uint32Array(HISTOGRAM_BUCKETS);

/** Lower edge of a bucket, ns: four buckets a power of two from 1024 ns (`probe_bucket` of bpf/lib/probe_structs.h). */
export function bucketEdgeNs(bucket: number): number {
  return bucket === 0 ? 0 : (4 + (bucket & 3)) * 2 ** (8 + (bucket >> 2));
}

/** The bucket of a time, 0..95: `probe_bucket`. */
export function bucketOf(ns: number): number {
  if (ns < 1024) return 0;
  const octave = Math.floor(Math.log2(ns)) - 10;
  const bucket = 4 * octave + Math.floor(ns / 2 ** (octave + 8)) - 4;
  return Math.min(bucket, HISTOGRAM_BUCKETS - 1);
}
