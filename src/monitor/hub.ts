import { chmod, chown, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { SystemError } from '../base/errors.ts';
import type { LostEvent, MonitorEvent } from '../model/event.ts';
import { type Batch, Listener } from './listener.ts';

export interface MonitorHubOptions {
  /** `NodePaths.eventsSocket`. */
  readonly socketPath: string;
  /** Group that may listen; default: that of the process. */
  readonly groupId?: number | undefined;
  /** Bytes that are queued for one listener. Default 1 MiB. */
  readonly queueBytes?: number | undefined;
  /** Connections at once; more are closed at once. Default 64. */
  readonly maxListeners?: number | undefined;
}

/** Counters since start; `listeners` is the number right now. */
export interface MonitorStats {
  readonly listeners: number;
  /** Events published, by kind; those of kind `lost` not among them. */
  readonly events: Readonly<Record<Exclude<MonitorEvent['kind'], 'lost'>, number>>;
  /** Events that never reached the hub, and those that a slow listener did not get. */
  readonly lost: Readonly<Record<LostEvent['source'], number>>;
}

const QUEUE_BYTES = 1 << 20;
const MAX_LISTENERS = 64;
/** How long the last words may take at stop. */
const STOP_GRACE_MS = 250;

/**
 * Hands the node's events to whoever listens on a unix socket, one JSON object a line. Nothing is serialised while
 * nobody listens. A slow listener loses events and is told how many; it never holds up the others or the publisher.
 */
export class MonitorHub {
  readonly #options: MonitorHubOptions;
  readonly #listeners = new Set<Listener>();
  readonly #events = { drop: 0, trace: 0, 'policy-verdict': 0, agent: 0, l7: 0 };
  readonly #lost = { ring: 0, listener: 0, proxy: 0 };
  #server: Server | undefined;

  constructor(options: MonitorHubOptions) {
    this.#options = options;
  }

  /** @throws SystemError EVENTS_SOCKET_BUSY when somebody serves there, EVENTS_SOCKET when it cannot be made */
  async start(): Promise<void> {
    const { socketPath, groupId } = this.#options;
    if (await isServed(socketPath)) {
      throw new SystemError(`another process serves ${socketPath}`, { code: 'EVENTS_SOCKET_BUSY' });
    }
    try {
      await rm(socketPath, { force: true });
      const server = createServer((socket) => this.#accept(socket));
      await listening(server, socketPath);
      this.#server = server;
      if (groupId !== undefined) await chown(socketPath, process.geteuid?.() ?? 0, groupId);
      await chmod(socketPath, 0o660);
    } catch (cause) {
      await this.stop();
      throw new SystemError(`cannot serve events on ${socketPath}`, { code: 'EVENTS_SOCKET', cause });
    }
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  /** Takes events in their order. Never blocks, never throws for a listener's sake. */
  publish(events: readonly MonitorEvent[]): void {
    for (const event of events) this.#count(event);
    if (this.#listeners.size === 0 || events.length === 0) return;
    const batch = serialise(events);
    for (const listener of this.#listeners) listener.send(batch);
  }

  stats(): MonitorStats {
    return { listeners: this.#listeners.size, events: { ...this.#events }, lost: { ...this.#lost } };
  }

  /** Ends every connection and removes the socket. May be called twice. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const listener of this.#listeners) listener.end();
    const timer = setTimeout(() => {
      for (const listener of this.#listeners) listener.destroy();
    }, STOP_GRACE_MS);
    await closed;
    clearTimeout(timer);
  }

  #count(event: MonitorEvent): void {
    if (event.kind === 'lost') this.#lost[event.source] += event.count;
    else this.#events[event.kind]++;
  }

  #accept(socket: Socket): void {
    if (this.#listeners.size >= (this.#options.maxListeners ?? MAX_LISTENERS)) {
      socket.destroy();
      return;
    }
    const listener = new Listener(socket, this.#options.queueBytes ?? QUEUE_BYTES, (count) => {
      this.#lost.listener += count;
    });
    this.#listeners.add(listener);
    // A listener that went away (EPIPE, ECONNRESET) is gone by its `close`, which follows each error.
    socket.on('error', () => undefined);
    socket.on('end', () => listener.end());
    socket.on('close', () => this.#listeners.delete(listener));
  }
}

function serialise(events: readonly MonitorEvent[]): Batch {
  const lines = events.map((event) => Buffer.from(`${JSON.stringify(event)}\n`));
  let end = 0;
  const ends = lines.map((line) => {
    end += line.length;
    return end;
  });
  return { bytes: Buffer.concat(lines), ends };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Whether somebody accepts connections there; a socket left by a dead process refuses them. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const done = (served: boolean) => () => {
      probe.destroy();
      resolve(served);
    };
    probe.once('connect', done(true));
    probe.once('error', done(false));
  });
}
