import { type IpFamily, ipFamily, parseIp } from '../../src/base/ip.ts';
import type { ProbeCounters } from '../types.ts';
import { Outcome } from './constants.ts';
import { failureOf } from './icmp.ts';
import { IcmpProber, type IcmpProberOptions } from './icmp-prober.ts';
import { LatencySamples, type LatencySummary } from './latency-samples.ts';
import type { OutcomeBatch } from './outcome-batch.ts';

export interface PingTarget {
  /** As the user named it. */
  readonly host: string;
  /** In text form. */
  readonly address: string;
}

export interface PingOptions extends IcmpProberOptions {
  /** Probes to each target; 0: until `stop`. */
  readonly count: number;
  /** From one probe to the next of the same target. */
  readonly intervalMs: number;
  /** As fast as replies come, with a bounded number under way; `intervalMs` is not used. */
  readonly flood?: boolean | undefined;
}

/** One line's worth: what became of the `index`-th probe (from 0) of a target. */
export interface PingLine {
  readonly target: PingTarget;
  readonly index: number;
  readonly bytes: number;
  readonly hopLimit: number;
  /** Undefined for a failure, and for a reply that could not be timed. */
  readonly latencyNs: number | undefined;
  readonly event: 'reply' | 'failure' | 'late' | 'duplicate';
  readonly text: string;
}

export interface PingReport {
  readonly target: PingTarget;
  readonly sent: number;
  readonly received: number;
  readonly late: number;
  readonly duplicate: number;
  /** Undefined when nothing was received. */
  readonly latency: LatencySummary | undefined;
  /** Last failure; undefined when there was none. */
  readonly lastFailure: string | undefined;
}

export interface PingDeps {
  /** Left out: no lines are made. */
  readonly onLine?: ((line: PingLine) => void) | undefined;
}

interface TargetState {
  readonly target: PingTarget;
  readonly family: IpFamily;
  readonly samples: LatencySamples;
  sent: number;
  received: number;
  late: number;
  duplicate: number;
  lastFailure: string | undefined;
}

/** Turns of the pacing clock: micro-batches, since a wake-up costs more than a packet. */
const TURN_MS = 10;
const FLOOD_WINDOW = 512;
/** Where sending stops for want of room: how often it is looked for. */
const FLOOD_READ_MS = 1;
/**
 * The kernel turns the stamping of received packets on in a work item some time after the first socket on the machine
 * asked for it (net_enable_timestamp, net/core/dev.c; all kernels): a probe sent before has no latency.
 */
const STAMPS_ON_MS = 25;
/** Up to here every reply is told at once; above, in turns. */
const FEW_TARGETS = 32;

/** Pings many targets at once, evenly spread over the interval, and keeps their statistics. */
export class PingSession {
  readonly #options: PingOptions;
  readonly #onLine: PingDeps['onLine'];
  readonly #prober: IcmpProber;
  readonly #targets: readonly PingTarget[];
  readonly #byPath: (TargetState | undefined)[] = [];
  #order: Record<IpFamily, Uint32Array> = { 4: new Uint32Array(0), 6: new Uint32Array(0) };
  #underWay = 0;
  #sending = false;
  #wake: (() => void) | undefined;
  #wakeSleep: (() => void) | undefined;
  #stopped = false;

  constructor(targets: readonly PingTarget[], options: PingOptions, deps: PingDeps = {}) {
    this.#targets = targets;
    this.#options = options;
    this.#onLine = deps.onLine;
    const gatherMs = options.flood === true ? FLOOD_READ_MS : targets.length > FEW_TARGETS ? TURN_MS : 0;
    this.#prober = new IcmpProber({ gatherMs, ...options }, { onOutcomes: (batch) => this.#take(batch) });
  }

  /** @throws NotPermittedError when a family that is needed may not be probed; SystemError */
  start(): void {
    this.#prober.start();
    const order: Record<IpFamily, number[]> = { 4: [], 6: [] };
    for (const target of this.#targets) {
      const family = ipFamily(parseIp(target.address.split('%')[0] ?? ''));
      const refused = this.#prober.refusal(family);
      if (refused !== undefined) throw refused;
      const path = this.#prober.openPath(target.address);
      order[family].push(path);
      this.#byPath[path] = newState(target, family);
    }
    this.#order = { 4: Uint32Array.from(order[4]), 6: Uint32Array.from(order[6]) };
  }

  mode(family: IpFamily): string {
    const ready = this.#prober.readiness(family);
    return ready.ready ? ready.mode : 'off';
  }

  /** Resolves when every probe has ended, or after `stop`. */
  async run(): Promise<void> {
    const { count, flood } = this.#options;
    await this.#sleep(STAMPS_ON_MS);
    for (let round = 0; !this.#stopped && (count === 0 || round < count); round++) {
      if (flood === true) await this.#floodRound();
      else await this.#pacedRound(count !== 0 && round === count - 1);
    }
    while (!this.#stopped && this.#underWay > 0) await this.#outcomes();
  }

  async #floodRound(): Promise<void> {
    for (const family of [4, 6] as const) {
      await this.#sendAll(this.#order[family], 0, this.#order[family].length, FLOOD_WINDOW);
    }
    // Lets the socket be read and signals be seen even when every reply came within the send call.
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #pacedRound(last: boolean): Promise<void> {
    const { intervalMs } = this.#options;
    const turns = Math.max(1, Math.floor(intervalMs / TURN_MS));
    const started = performance.now();
    for (let turn = 0; turn < turns && !this.#stopped; turn++) {
      const sent = await this.#sendTurn(turn, turns);
      if (last && this.#isLastTurn(turn, turns)) return;
      if (!sent && turn + 1 < turns) continue;
      const due = started + ((turn + 1) * intervalMs) / turns;
      await this.#sleep(due - performance.now());
    }
  }

  /** Sends the share of this turn; targets are dealt out so that each turn has as many, give or take one. */
  async #sendTurn(turn: number, turns: number): Promise<boolean> {
    let sent = false;
    for (const family of [4, 6] as const) {
      const paths = this.#order[family];
      const from = Math.ceil((turn * paths.length) / turns);
      const to = Math.ceil(((turn + 1) * paths.length) / turns);
      await this.#sendAll(paths, from, to, Infinity);
      sent ||= to > from;
    }
    return sent;
  }

  /** Sends to `paths[from..to)`, waiting for room where the window, our table or the kernel's queue is full. */
  async #sendAll(paths: Uint32Array, from: number, to: number, window: number): Promise<void> {
    let next = from;
    while (next < to && !this.#stopped) {
      const room = window - this.#underWay;
      const done = room > 0 ? this.#send(paths, next, Math.min(to, next + room)) : 0;
      next += done;
      if (done === 0) await this.#outcomes();
    }
  }

  #isLastTurn(turn: number, turns: number): boolean {
    const left = (family: IpFamily): number =>
      this.#order[family].length - Math.ceil(((turn + 1) * this.#order[family].length) / turns);
    return left(4) + left(6) === 0;
  }

  #send(paths: Uint32Array, from: number, to: number): number {
    // Replies can be taken within the send call: what is sent is counted before.
    this.#sending = true;
    this.#underWay += to - from;
    for (let i = from; i < to; i++) this.#note(paths[i] ?? 0, 1);
    const done = this.#prober.send(paths, from, to);
    this.#underWay -= to - from - done;
    for (let i = from + done; i < to; i++) this.#note(paths[i] ?? 0, -1);
    this.#sending = false;
    return done;
  }

  #note(path: number, change: number): void {
    const state = this.#byPath[path];
    if (state !== undefined) state.sent += change;
  }

  #sleep(ms: number): Promise<void> {
    if (ms <= 0) return new Promise((resolve) => setImmediate(resolve));
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakeSleep = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wakeSleep = done;
    });
  }

  /** Resolves at the next outcome, and after a while without one: the kernel's queue may be full of others' packets. */
  #outcomes(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, TURN_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #take(batch: OutcomeBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const state = this.#byPath[batch.path[i] ?? 0];
      if (state !== undefined) this.#takeOne(state, batch, i);
    }
    if (this.#sending) return;
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #takeOne(state: TargetState, batch: OutcomeBatch, i: number): void {
    const kind = batch.kind[i];
    const latencyNs = batch.latencyNs[i] ?? Number.NaN;
    const timed = latencyNs >= 0 ? latencyNs : undefined;
    if (kind === Outcome.late || kind === Outcome.duplicate) {
      const event = kind === Outcome.late ? 'late' : 'duplicate';
      state[event]++;
      this.#line(state, batch, i, { event, latencyNs: timed, text: event });
      return;
    }
    this.#underWay--;
    if (kind === Outcome.reply) {
      state.received++;
      if (timed !== undefined) state.samples.add(timed);
      this.#line(state, batch, i, { event: 'reply', latencyNs: timed, text: '' });
    } else {
      const error = batch.errors[batch.detail[i] ?? 0];
      const lost = kind === Outcome.timeout || error === undefined;
      state.lastFailure = lost ? 'timed out' : failureOf(error).text;
      this.#line(state, batch, i, { event: 'failure', latencyNs: undefined, text: state.lastFailure });
    }
  }

  /** Targets of a family are sent to in a fixed order and sequences have no gaps: the sequence tells the round. */
  #line(
    state: TargetState,
    batch: OutcomeBatch,
    i: number,
    what: Pick<PingLine, 'event' | 'latencyNs' | 'text'>,
  ): void {
    this.#onLine?.({
      target: state.target,
      index: Math.floor(((batch.sequence[i] ?? 1) - 1) / this.#order[state.family].length),
      bytes: (this.#options.payloadBytes ?? 56) + 8,
      hopLimit: what.event === 'failure' ? 0 : (batch.detail[i] ?? 0),
      ...what,
    });
  }

  reports(): PingReport[] {
    return this.#byPath
      .filter((state) => state !== undefined)
      .map(({ target, sent, received, late, duplicate, samples, lastFailure }) => {
        return { target, sent, received, late, duplicate, latency: samples.summary(), lastFailure };
      });
  }

  counters(): ProbeCounters {
    return this.#prober.counters();
  }

  /** Ends `run`; probes under way count as neither received nor lost. */
  stop(): void {
    this.#stopped = true;
    this.#prober.stop();
    this.#wakeSleep?.();
    this.#wake?.();
  }
}

function newState(target: PingTarget, family: IpFamily): TargetState {
  const zero = { sent: 0, received: 0, late: 0, duplicate: 0 };
  return { target, family, samples: new LatencySamples(), lastFailure: undefined, ...zero };
}
