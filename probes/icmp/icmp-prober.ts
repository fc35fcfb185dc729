import { randomBytes, randomInt } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import {
  type CiliateError,
  errorText,
  NotPermittedError,
  SystemError,
  UsageError,
} from '../../src/base/errors.ts';
import { type IpFamily, ipFamily, parseIp } from '../../src/base/ip.ts';
import type { ProbeCounters, ProbeReadiness } from '../types.ts';
import {
  COOKIE_BYTES,
  Counter,
  DEFAULT_OUTSTANDING,
  DEFAULT_PAYLOAD_BYTES,
  DEFAULT_RECEIVE_BUFFER_BYTES,
  KEY_BYTES,
  Kind,
  Outcome,
  PAYLOAD_BYTES_MAX,
  Param,
} from './constants.ts';
import { type ChannelTarget, IcmpChannel } from './icmp-channel.ts';
import { type NativeIcmp, type NativeSocket, nativeIcmp } from './native.ts';
import { OutcomeBatch } from './outcome-batch.ts';

export type IcmpMode = 'raw' | 'datagram';

export interface IcmpProberOptions {
  /** `auto`: raw where the kernel lets us, else datagram (net.ipv4.ping_group_range). */
  readonly mode?: IcmpMode | 'auto' | undefined;
  readonly families?: readonly IpFamily[] | undefined;
  readonly timeoutMs?: number | undefined;
  /** Path of the network namespace to probe from; default: the process's own. */
  readonly netns?: string | undefined;
  /** Source addresses in text form, at most one a family. */
  readonly sources?: readonly string[] | undefined;
  /** Differentiated services code point, 0..63. */
  readonly dscp?: number | undefined;
  readonly payloadBytes?: number | undefined;
  readonly dontFragment?: boolean | undefined;
  /** 1..255; default: the system's. */
  readonly hopLimit?: number | undefined;
  readonly receiveBufferBytes?: number | undefined;
  /** Probes under way per family, rounded up to a power of two. */
  readonly outstanding?: number | undefined;
  /**
   * 0: read as soon as something comes. Else read this often while probes are under way, without being woken for each
   * packet; replies wait in the kernel with their stamps, so latencies do not change, only when they are told.
   */
  readonly gatherMs?: number | undefined;
}

export interface IcmpProberDeps {
  /** Called with what happened since the last call. The batch is reused: read it during the call. */
  readonly onOutcomes: (batch: OutcomeBatch) => void;
  readonly native?: NativeIcmp | undefined;
}

function checkRange(what: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new UsageError(`${what} is ${value}; it must be a whole number from ${least} to ${most}`);
}

function checkOptions(options: IcmpProberOptions): void {
  checkRange('the DSCP', options.dscp, 0, 63);
  checkRange('the payload size', options.payloadBytes, COOKIE_BYTES, PAYLOAD_BYTES_MAX);
  checkRange('the hop limit', options.hopLimit, 1, 255);
  checkRange('the timeout in ms', options.timeoutMs, 1, 3_600_000);
  checkRange('the number of probes under way', options.outstanding, 1, 1 << 20);
}

/** `fe80::1%eth0` is not resolved here: the scope is numeric, `%3`, as `interfaceIndex` gives it. */
function parseTarget(text: string): { bytes: Uint8Array; scopeId: number } {
  const [address = '', scope] = text.split('%');
  if (scope !== undefined && !/^\d{1,10}$/.test(scope)) {
    throw new UsageError(`the scope of ${JSON.stringify(text)} is not an interface index`, {
      code: 'IP_INVALID',
    });
  }
  return { bytes: parseIp(address), scopeId: Number(scope ?? 0) };
}

/** The text of an errno, `Operation not permitted (EPERM)`. */
export function errnoText(errno: number): string {
  const known = getSystemErrorMap().get(-errno);
  return known === undefined ? `errno ${errno}` : `${known[1]} (${known[0]})`;
}

/**
 * Sends ICMP echo requests and times their replies from kernel stamp to kernel stamp. Many targets share one socket a
 * family; outcomes come in batches, each probe ending exactly once, in `reply`, `timeout`, `icmpError` or
 * `sendFailed`; `late` and `duplicate` may follow.
 */
export class IcmpProber {
  readonly timeoutMs: number;
  readonly #options: IcmpProberOptions;
  readonly #onOutcomes: (batch: OutcomeBatch) => void;
  readonly #givenNative: NativeIcmp | undefined;
  readonly #batch = new OutcomeBatch();
  readonly #targets: (ChannelTarget | undefined)[] = [undefined];
  readonly #familyOf: IpFamily[] = [4];
  readonly #freePaths: number[] = [];
  readonly #totals = { replies: 0, lost: 0, failed: 0, late: 0, duplicate: 0, unstamped: 0 };
  #channels: Partial<Record<IpFamily, { channel: IcmpChannel; socket: NativeSocket; mode: IcmpMode }>> = {};
  #refusals: Partial<Record<IpFamily, CiliateError>> = {};
  #native: NativeIcmp | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #finalCounters: ProbeCounters | undefined;

  /** @throws UsageError when an option is out of range */
  constructor(options: IcmpProberOptions, deps: IcmpProberDeps) {
    checkOptions(options);
    this.timeoutMs = options.timeoutMs ?? 1000;
    this.#options = options;
    this.#onOutcomes = deps.onOutcomes;
    this.#givenNative = deps.native;
  }

  /**
   * Opens the sockets. A family that is refused is remembered (`readiness`), not fatal.
   * @throws SystemError code ADDON_MISSING
   */
  start(): void {
    this.#native = this.#givenNative ?? nativeIcmp();
    for (const family of this.#options.families ?? ([4, 6] as const)) this.#openFamily(this.#native, family);
  }

  #openFamily(native: NativeIcmp, family: IpFamily): void {
    const wanted = this.#options.mode ?? 'auto';
    const modes: readonly IcmpMode[] = wanted === 'auto' ? ['raw', 'datagram'] : [wanted];
    let errno = 0;
    for (const mode of modes) {
      const opened = this.#openSocket(native, family, mode);
      if (typeof opened !== 'number') {
        this.#adopt(native, family, mode, opened);
        return;
      }
      errno = -opened;
    }
    this.#refusals[family] = refusal(family, modes, errno);
  }

  #openSocket(native: NativeIcmp, family: IpFamily, mode: IcmpMode): NativeSocket | number {
    const { netns, sources = [] } = this.#options;
    const source = sources.map(parseTarget).find(({ bytes }) => ipFamily(bytes) === family);
    const netnsFd = netns === undefined ? -1 : openSync(netns, 'r');
    try {
      const params = this.#params(family, mode, netnsFd, source?.scopeId ?? 0);
      return native.open(params, randomBytes(KEY_BYTES), source?.bytes ?? new Uint8Array(0));
    } finally {
      if (netnsFd >= 0) closeSync(netnsFd);
    }
  }

  #params(family: IpFamily, mode: IcmpMode, netnsFd: number, scopeId: number): Int32Array {
    const params = new Int32Array(Param.count);
    params[Param.family] = family;
    params[Param.kind] = Kind[mode];
    params[Param.netnsFd] = netnsFd;
    params[Param.scopeId] = scopeId;
    params[Param.trafficClass] = (this.#options.dscp ?? 0) << 2;
    params[Param.dontFragment] = this.#options.dontFragment === true ? 1 : 0;
    params[Param.hopLimit] = this.#options.hopLimit ?? 0;
    params[Param.receiveBuffer] = this.#options.receiveBufferBytes ?? DEFAULT_RECEIVE_BUFFER_BYTES;
    params[Param.id] = randomInt(1, 0x10000);
    params[Param.payloadBytes] = this.#options.payloadBytes ?? DEFAULT_PAYLOAD_BYTES;
    return params;
  }

  #adopt(native: NativeIcmp, family: IpFamily, mode: IcmpMode, socket: NativeSocket): void {
    const channel = new IcmpChannel(
      { native, socket, family, batch: this.#batch, targetOf: (path) => this.#targetOf(path) },
      {
        outstanding: 2 ** Math.ceil(Math.log2(this.#options.outstanding ?? DEFAULT_OUTSTANDING)),
        timeoutNs: this.timeoutMs * 1e6,
      },
    );
    this.#channels[family] = { channel, socket, mode };
    if ((this.#options.gatherMs ?? 0) > 0) return;
    const result = native.watch(socket, () => this.#drain());
    if (result < 0) throw new SystemError(`cannot watch the ICMP socket: ${errnoText(-result)}`);
  }

  readiness(family: IpFamily): ProbeReadiness {
    const open = this.#channels[family];
    if (open !== undefined) return { ready: true, mode: open.mode };
    const refused = this.#refusals[family];
    return { ready: false, reason: (refused && errorText(refused)) ?? `ICMP over IPv${family} is not open` };
  }

  /** Why a family could not be opened, with its hint and exit code. */
  refusal(family: IpFamily): CiliateError | undefined {
    return this.#refusals[family];
  }

  /**
   * A number for a target, to send to and to find its outcomes by.
   * @throws UsageError code IP_INVALID
   */
  openPath(address: string): number {
    const { bytes, scopeId } = parseTarget(address);
    const padded = new Uint8Array(16);
    padded.set(bytes);
    const path = this.#freePaths.pop() ?? this.#targets.length;
    this.#targets[path] = { words: new Uint32Array(padded.buffer, 0, 4), scopeId };
    this.#familyOf[path] = ipFamily(bytes);
    return path;
  }

  /** Frees a number; what is under way on it must have ended. */
  closePath(path: number): void {
    if (this.#targets[path] === undefined) return;
    this.#targets[path] = undefined;
    this.#freePaths.push(path);
  }

  #targetOf(path: number): ChannelTarget {
    const target = this.#targets[path];
    if (target === undefined) throw new UsageError(`no ICMP path has number ${path}`);
    return target;
  }

  /**
   * Sends one probe on each path; all must be of one family, and that family ready.
   * @returns how many went out or failed for good; the caller tries the rest again after the next outcomes
   */
  send(paths: Uint32Array, from = 0, to = paths.length): number {
    if (to <= from) return 0;
    const open = this.#channels[this.#familyOf[paths[from] ?? 0] ?? 4];
    if (open === undefined || this.#stopped)
      throw new UsageError('ICMP is not open for the family of the path');
    const done = open.channel.send(paths, from, to);
    this.#deliver();
    this.#setTimer();
    return done;
  }

  #drain(): void {
    if (this.#stopped) return;
    for (const open of Object.values(this.#channels)) open.channel.drain();
    this.#deliver();
    this.#setTimer();
  }

  #deliver(): void {
    const batch = this.#batch;
    if (batch.count === 0) {
      batch.clear();
      return;
    }
    this.#count(batch);
    this.#onOutcomes(batch);
    batch.clear();
  }

  #count(batch: OutcomeBatch): void {
    const totals = this.#totals;
    for (let i = 0; i < batch.count; i++) {
      const kind = batch.kind[i];
      if (kind === Outcome.reply) {
        totals.replies++;
        if (batch.stamped[i] === 0) totals.unstamped++;
      } else if (kind === Outcome.timeout) totals.lost++;
      else if (kind === Outcome.late) totals.late++;
      else if (kind === Outcome.duplicate) totals.duplicate++;
      else totals.failed++;
    }
  }

  /** One timer for all probes: the next reading, or the oldest one's deadline. It keeps the process alive meanwhile. */
  #setTimer(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    let waitMs = Infinity;
    for (const { channel } of Object.values(this.#channels)) {
      const oldestNs = channel.table.oldestSentNs;
      if (oldestNs === undefined) continue;
      waitMs = Math.min(waitMs, (oldestNs - channel.nowNs()) / 1e6 + this.timeoutMs);
    }
    if (waitMs === Infinity) return;
    const { gatherMs = 0 } = this.#options;
    if (gatherMs > 0) waitMs = Math.min(waitMs, gatherMs);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#drain();
      },
      Math.max(1, Math.ceil(waitMs)),
    );
  }

  counters(): ProbeCounters {
    if (this.#finalCounters !== undefined) return this.#finalCounters;
    const sum = { sent: 0, foreign: 0, corrupt: 0, reordered: 0, ownDrops: 0, clockSteps: 0 };
    for (const { channel } of Object.values(this.#channels)) {
      const kernel = channel.kernelCounters();
      sum.sent += channel.counters.sent;
      sum.foreign += channel.counters.foreign;
      sum.corrupt += channel.counters.corrupt;
      sum.reordered += channel.table.reordered;
      sum.ownDrops += kernel[Counter.receiveOverflow] ?? 0;
      sum.clockSteps += kernel[Counter.clockSteps] ?? 0;
    }
    return { ...this.#totals, ...sum };
  }

  /** Closes the sockets; outcomes of what is under way never come. May be called twice. */
  stop(): void {
    if (this.#stopped) return;
    this.#finalCounters = this.counters();
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const { socket } of Object.values(this.#channels)) this.#native?.close(socket);
    this.#channels = {};
  }
}

function refusal(family: IpFamily, modes: readonly IcmpMode[], errno: number): CiliateError {
  const what = `the kernel refuses an ICMP socket over IPv${family} (${modes.join(', then ')})`;
  const cause = Object.assign(new Error(errnoText(errno)), { errno, code: getSystemErrorName(-errno) });
  if (['EPERM', 'EACCES'].includes(cause.code)) {
    return new NotPermittedError(what, {
      code: 'ICMP_NOT_PERMITTED',
      hint: 'grant CAP_NET_RAW, or let your group ping: sysctl net.ipv4.ping_group_range="0 2147483647"',
      cause,
    });
  }
  return new SystemError(what, { code: 'ICMP_UNAVAILABLE', cause });
}
