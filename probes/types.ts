import type { IpFamily } from '../src/base/ip.ts';

export type ProbeProtocol = 'icmp' | 'http';

/** Why a probe failed. `text` is for people; `kind` is what callers decide on. */
export type ProbeFailure =
  | { readonly kind: 'timeout'; readonly text: string }
  /** A router or the target said so, or the kernel has no route. */
  | { readonly kind: 'unreachable'; readonly text: string }
  | { readonly kind: 'refused'; readonly text: string }
  | { readonly kind: 'reset'; readonly text: string }
  /** The answer was not what was asked for: status, syntax, size. */
  | { readonly kind: 'bad-answer'; readonly text: string }
  | { readonly kind: 'too-big'; readonly text: string; readonly mtu: number }
  /** The packet could not be sent: this is about us, not about the path. */
  | { readonly kind: 'send-failed'; readonly text: string };

/** Outcome of one probe. A negative outcome is a value, never an exception. */
export type ProbeResult =
  | {
      readonly kind: 'reply';
      /** Undefined when the reply proves the path but its time cannot be trusted. */
      readonly latencyNs: number | undefined;
      /** Parts of the latency, in the order they happened, in ns. */
      readonly phases?: Readonly<Record<string, number>> | undefined;
    }
  | { readonly kind: 'failure'; readonly failure: ProbeFailure }
  /** Nothing was sent: the probe is not possible here, so nothing is known about the path. */
  | { readonly kind: 'not-probed'; readonly reason: string };

export type ProbeReadiness =
  | {
      readonly ready: true;
      readonly mode: string;
      /** Why it is not a better mode, for people. */
      readonly note?: string | undefined;
    }
  | { readonly ready: false; readonly reason: string };

/** Counts since start. What a probe cannot observe stays 0. */
export interface ProbeCounters {
  readonly sent: number;
  readonly replies: number;
  readonly lost: number;
  readonly failed: number;
  /** Genuine replies after their probe had timed out. */
  readonly late: number;
  readonly duplicate: number;
  readonly reordered: number;
  /** Replies to our identifier that no probe of ours asked for, or from another address. */
  readonly foreign: number;
  readonly corrupt: number;
  /** Replies that the kernel dropped because our receive buffer was full: our fault, not the path's. */
  readonly ownDrops: number;
  readonly clockSteps: number;
  /** Replies timed with a user-space transmit stamp because the kernel gave none. */
  readonly unstamped: number;
}

/** Measures one path at a time, for many paths at once; knows nothing of clusters. */
export interface Probe {
  readonly protocol: ProbeProtocol;
  start(): Promise<void>;
  /** Releases everything; probes under way end as `not-probed`. May be called twice. */
  stop(): Promise<void>;
  readiness(family: IpFamily): ProbeReadiness;
  /** Resolves exactly once, within the probe's deadline; never rejects. `address` in text form. */
  probe(address: string): Promise<ProbeResult>;
  counters(): ProbeCounters;
}

/** Notes on the devices when the SYN of a request leaves, and when its SYN-ACK comes. */
export interface Handshakes {
  /** SO_MARK of the sockets whose handshakes are noted; undefined: nobody notes any. */
  readonly handshakeMark: number | undefined;
  /**
   * From the SYN, the last one if it was sent again, to the first SYN-ACK, ns; undefined: not both were seen.
   * @param fd of a connected socket with the mark
   */
  handshakeNs(fd: number): number | undefined;
}
