import { isIPv4 } from 'node:net';
import { constants } from 'node:os';
import type { IpFamily } from '../../src/base/ip.ts';
import type { Probe, ProbeCounters, ProbeFailure, ProbeReadiness, ProbeResult } from '../types.ts';
import { Outcome } from './constants.ts';
import { errnoText, IcmpProber, type IcmpProberOptions } from './icmp-prober.ts';
import type { OutcomeBatch, ProbeError } from './outcome-batch.ts';

export type IcmpProbeOptions = IcmpProberOptions;

const { EMSGSIZE, ENETUNREACH, EHOSTUNREACH } = constants.errno;

/** What an ICMP error or a refused send means for the path. */
export function failureOf(error: ProbeError): ProbeFailure {
  const from = error.offender === undefined ? '' : ` (from ${error.offender})`;
  if (error.errno === EMSGSIZE) {
    return { kind: 'too-big', text: `Packet too big, MTU ${error.mtu}${from}`, mtu: error.mtu };
  }
  const text = `${errnoText(error.errno)}${from}`;
  const noRoute = error.errno === ENETUNREACH || error.errno === EHOSTUNREACH;
  return { kind: error.type === undefined && !noRoute ? 'send-failed' : 'unreachable', text };
}

interface Waiting {
  readonly path: number;
  readonly resolve: (result: ProbeResult) => void;
}

/** ICMP echo behind the common interface: probes asked for in one turn of the event loop leave in one system call. */
class IcmpProbe implements Probe {
  readonly protocol = 'icmp';
  readonly #prober: IcmpProber;
  readonly #waiting = new Map<number, Waiting[]>();
  readonly #queue: Record<IpFamily, number[]> = { 4: [], 6: [] };
  readonly #paths = new Map<string, { readonly path: number; users: number }>();
  readonly #addressOf = new Map<number, string>();
  #flushing = false;
  #stopped = false;

  constructor(options: IcmpProbeOptions) {
    this.#prober = new IcmpProber(options, { onOutcomes: (batch) => this.#take(batch) });
  }

  async start(): Promise<void> {
    this.#prober.start();
  }

  readiness(family: IpFamily): ProbeReadiness {
    return this.#prober.readiness(family);
  }

  probe(address: string): Promise<ProbeResult> {
    const family: IpFamily = isIPv4(address) ? 4 : 6;
    const ready = this.#prober.readiness(family);
    if (this.#stopped) return Promise.resolve({ kind: 'not-probed', reason: 'the probe was stopped' });
    if (!ready.ready) return Promise.resolve({ kind: 'not-probed', reason: ready.reason });
    return new Promise((resolve) => {
      const path = this.#openPath(address);
      const waiting = this.#waiting.get(path);
      if (waiting === undefined) this.#waiting.set(path, [{ path, resolve }]);
      else waiting.push({ path, resolve });
      this.#queue[family].push(path);
      if (this.#flushing) return;
      this.#flushing = true;
      setImmediate(() => this.#flush());
    });
  }

  #openPath(address: string): number {
    const open = this.#paths.get(address);
    if (open !== undefined) {
      open.users++;
      return open.path;
    }
    const path = this.#prober.openPath(address);
    this.#paths.set(address, { path, users: 1 });
    this.#addressOf.set(path, address);
    return path;
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#stopped) return;
    for (const family of [4, 6] as const) {
      const queue = Uint32Array.from(this.#queue[family]);
      this.#queue[family] = [];
      if (queue.length === 0) continue;
      const done = this.#prober.send(queue);
      this.#queue[family].unshift(...queue.subarray(done));
    }
    if (this.#queue[4].length + this.#queue[6].length === 0 || this.#flushing) return;
    // The kernel's queue or our table is full: replies and expiries make room.
    this.#flushing = true;
    setTimeout(() => this.#flush(), 10);
  }

  #take(batch: OutcomeBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const kind = batch.kind[i];
      if (kind === Outcome.late || kind === Outcome.duplicate) continue;
      this.#end(batch.path[i] ?? 0, this.#resultAt(batch, i));
    }
  }

  #resultAt(batch: OutcomeBatch, i: number): ProbeResult {
    if (batch.kind[i] === Outcome.reply) {
      const latencyNs = batch.latencyNs[i] ?? Number.NaN;
      return { kind: 'reply', latencyNs: latencyNs >= 0 ? latencyNs : undefined };
    }
    const error = batch.errors[batch.detail[i] ?? 0];
    if (batch.kind[i] === Outcome.timeout || error === undefined) {
      const text = `no reply within ${this.#prober.timeoutMs} ms`;
      return { kind: 'failure', failure: { kind: 'timeout', text } };
    }
    return { kind: 'failure', failure: failureOf(error) };
  }

  #end(path: number, result: ProbeResult): void {
    const waiting = this.#waiting.get(path);
    const first = waiting?.shift();
    if (waiting?.length === 0) this.#waiting.delete(path);
    const address = this.#addressOf.get(path);
    const open = address === undefined ? undefined : this.#paths.get(address);
    if (open !== undefined && address !== undefined && --open.users === 0) {
      this.#paths.delete(address);
      this.#addressOf.delete(path);
      this.#prober.closePath(path);
    }
    first?.resolve(result);
  }

  counters(): ProbeCounters {
    return this.#prober.counters();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#prober.stop();
    for (const waiting of this.#waiting.values()) {
      for (const { resolve } of waiting) resolve({ kind: 'not-probed', reason: 'the probe was stopped' });
    }
    this.#waiting.clear();
  }
}

export function createIcmpProbe(options: IcmpProbeOptions = {}): Probe {
  return new IcmpProbe(options);
}
