import { connect, type Socket } from 'node:net';
import { errorText } from '../../src/base/errors.ts';
import type { Probe, ProbeCounters, ProbeFailure, ProbeReadiness, ProbeResult } from '../types.ts';
import { type AnswerProgress, AnswerReader } from './answer.ts';
import { CONNECTIONS_MAX, DEFAULT_TIMEOUT_MS, HEALTH_PORT, HELLO_PATH } from './constants.ts';

export interface HttpProbeOptions {
  /** Host order. */
  readonly port?: number | undefined;
  readonly path?: string | undefined;
  /** For the whole exchange, waiting for a turn included. */
  readonly timeoutMs?: number | undefined;
  readonly connections?: number | undefined;
  /** Addresses to connect from, in text form, at most one a family. */
  readonly sources?: readonly string[] | undefined;
}

/** The errno of a broken connection, as a reason that a caller can act on. */
export function connectionFailure(error: unknown): ProbeFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const text = errorText(error);
  if (code === 'ECONNREFUSED') return { kind: 'refused', text: 'connection refused' };
  if (code === 'ECONNRESET' || code === 'EPIPE') return { kind: 'reset', text: 'connection reset' };
  if (code === 'ETIMEDOUT') return { kind: 'timeout', text: 'connection timed out' };
  if (['ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'EHOSTDOWN'].includes(code)) {
    return { kind: 'unreachable', text: code === 'ENETUNREACH' ? 'no route to network' : 'no route to host' };
  }
  return { kind: 'send-failed', text };
}

/** One GET over a connection of its own: the time of a kept connection would mean something else. */
class HttpProbe implements Probe {
  readonly protocol = 'http';
  readonly #options: HttpProbeOptions;
  readonly #timeoutMs: number;
  readonly #open = new Set<() => void>();
  readonly #waiting: (() => void)[] = [];
  readonly #totals = { sent: 0, replies: 0, lost: 0, failed: 0 };
  #running = 0;
  #stopped = false;

  constructor(options: HttpProbeOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  async start(): Promise<void> {
    // Each probe opens its own connection.
  }

  readiness(): ProbeReadiness {
    return { ready: true, mode: 'tcp' };
  }

  async probe(address: string): Promise<ProbeResult> {
    const deadline = performance.now() + this.#timeoutMs;
    if (this.#running >= (this.#options.connections ?? CONNECTIONS_MAX)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#stopped) return { kind: 'not-probed', reason: 'the probe was stopped' };
    this.#running++;
    try {
      return this.#count(await this.#exchange(address, deadline));
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  #count(result: ProbeResult): ProbeResult {
    if (result.kind === 'reply') this.#totals.replies++;
    else if (result.kind === 'failure') {
      this.#totals[result.failure.kind === 'timeout' ? 'lost' : 'failed']++;
    }
    return result;
  }

  #exchange(address: string, deadlineMs: number): Promise<ProbeResult> {
    return new Promise((resolve) => {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) {
        resolve({ kind: 'not-probed', reason: 'too many probes are under way' });
        return;
      }
      const exchange = new Exchange(address, this.#options, (result) => {
        clearTimeout(timer);
        this.#open.delete(cancel);
        resolve(result);
      });
      const cancel = (): void => exchange.end({ kind: 'not-probed', reason: 'the probe was stopped' });
      const timer = setTimeout(() => exchange.timeOut(this.#timeoutMs), Math.ceil(leftMs));
      this.#open.add(cancel);
      this.#totals.sent++;
      exchange.start();
    });
  }

  counters(): ProbeCounters {
    const unseen = { late: 0, duplicate: 0, reordered: 0, foreign: 0, corrupt: 0, ownDrops: 0 };
    return { ...this.#totals, ...unseen, clockSteps: 0, unstamped: 0 };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of [...this.#open]) cancel();
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** One connection with its request, its answer and the times between. */
class Exchange {
  readonly #address: string;
  readonly #options: HttpProbeOptions;
  readonly #done: (result: ProbeResult) => void;
  readonly #reader = new AnswerReader();
  #socket: Socket | undefined;
  #ended = false;
  #startNs = 0n;
  #connectedNs: bigint | undefined;
  #firstByteNs: bigint | undefined;

  constructor(address: string, options: HttpProbeOptions, done: (result: ProbeResult) => void) {
    this.#address = address;
    this.#options = options;
    this.#done = done;
  }

  start(): void {
    const { port = HEALTH_PORT, sources = [] } = this.#options;
    const isV6 = this.#address.includes(':');
    const localAddress = sources.find((source) => source.includes(':') === isV6);
    this.#startNs = process.hrtime.bigint();
    const socket = connect({
      host: this.#address,
      port,
      ...(localAddress === undefined ? {} : { localAddress }),
      noDelay: true,
    });
    this.#socket = socket;
    socket.on('connect', () => this.#connected(socket));
    socket.on('data', (chunk: Buffer) => this.#received(this.#reader.push(chunk)));
    socket.on('end', () => this.#received(this.#reader.end()));
    socket.on('error', (error) => this.end({ kind: 'failure', failure: connectionFailure(error) }));
    socket.on('close', () => this.#received(this.#reader.end()));
  }

  #connected(socket: Socket): void {
    this.#connectedNs = process.hrtime.bigint();
    const { port = HEALTH_PORT, path = HELLO_PATH } = this.#options;
    const host = this.#address.includes(':') ? `[${this.#address}]` : this.#address;
    const head = `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nUser-Agent: ciliate-health\r\n`;
    socket.write(`${head}Connection: close\r\n\r\n`);
  }

  #received(progress: AnswerProgress): void {
    if (this.#ended) return;
    this.#firstByteNs ??= process.hrtime.bigint();
    if (progress.kind === 'bad') {
      this.end({ kind: 'failure', failure: { kind: 'bad-answer', text: progress.text } });
    } else if (progress.kind === 'complete') {
      this.end(progress.status === 200 ? this.#reply() : badStatus(progress.status));
    }
  }

  #reply(): ProbeResult {
    const totalNs = Number(process.hrtime.bigint() - this.#startNs);
    const connectNs = Number((this.#connectedNs ?? this.#startNs) - this.#startNs);
    const firstByteNs = Number((this.#firstByteNs ?? this.#startNs) - this.#startNs) - connectNs;
    const phases = { connectNs, firstByteNs, restNs: totalNs - connectNs - firstByteNs };
    return { kind: 'reply', latencyNs: totalNs, phases };
  }

  timeOut(timeoutMs: number): void {
    const what = this.#connectedNs === undefined ? 'no connection' : 'connected, but no answer';
    this.end({ kind: 'failure', failure: { kind: 'timeout', text: `${what} within ${timeoutMs} ms` } });
  }

  end(result: ProbeResult): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket?.destroy();
    this.#done(result);
  }
}

function badStatus(status: number): ProbeResult {
  return { kind: 'failure', failure: { kind: 'bad-answer', text: `HTTP status ${status}` } };
}

/** GET of the health responder behind the common interface. Times are the event loop's: they include our own delay. */
export function createHttpProbe(options: HttpProbeOptions = {}): Probe {
  return new HttpProbe(options);
}
