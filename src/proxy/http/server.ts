import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '../../base/log.ts';
import type { Direction } from '../../model/map-state.ts';
import type { ProxyListener } from '../../model/proxy-protocol.ts';
import type { PolicyHolder } from '../policy-holder.ts';
import type { Clock, Dial, FlowEnd, FlowOf, LogSink } from '../types.ts';
import { Answers } from './answers.ts';
import { HttpConnection, type HttpContext } from './connection.ts';
import { type FlowDeps, HttpFlow } from './flow.ts';
import { Http2Connection } from './http2-connection.ts';
import { HttpJudge } from './judge.ts';
import type { HttpLimits } from './limits.ts';
import { Opening } from './opening.ts';
import { HttpRecords } from './records.ts';

const CHECK_EVERY_MS = 1000;

export interface HttpServerDeps {
  readonly limits: HttpLimits;
  readonly maxConnections: number;
  readonly holder: PolicyHolder;
  readonly flowOf: FlowOf;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly record: LogSink;
  readonly log: Logger;
}

/** A connection at whatever stage. */
interface Held {
  check(nowNs: number): void;
  destroy(): void;
}

/** The address without the prefix that an IPv6 socket gives IPv4 ones. */
function flowEnd(address: string | undefined, port: number | undefined): FlowEnd | undefined {
  if (address === undefined || port === undefined) return undefined;
  return { address: address.startsWith('::ffff:') ? address.slice(7) : address, port };
}

/** Accepts redirected HTTP connections on inherited listeners. */
export class HttpServer {
  readonly #deps: HttpServerDeps;
  readonly #flowDeps: FlowDeps;
  readonly #context: HttpContext;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Held>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: HttpServerDeps) {
    this.#deps = deps;
    const judge = new HttpJudge((problem) =>
      deps.log.error({ problem }, 'rule that cannot be used allows nothing'),
    );
    this.#flowDeps = { ...deps, judge };
    this.#context = {
      limits: deps.limits,
      clock: deps.clock,
      answers: new Answers(deps.clock),
      records: new HttpRecords(deps.clock, deps.record),
    };
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Begins to accept on a listening socket. */
  async listen({ fd, name }: ProxyListener): Promise<void> {
    const direction: Direction = name.endsWith('-ingress') ? 'ingress' : 'egress';
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(socket, direction),
    );
    server.maxConnections = this.#deps.maxConnections;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd }, resolve);
    });
    server.on('error', (error) => this.#deps.log.error({ listener: name, error: error.message }, 'listener'));
    this.#servers.push(server);
    this.#timer ??= setInterval(() => this.#check(), CHECK_EVERY_MS);
  }

  #accept(socket: Socket, direction: Direction): void {
    const client = flowEnd(socket.remoteAddress, socket.remotePort);
    const server = flowEnd(socket.localAddress, socket.localPort);
    if (client === undefined || server === undefined) {
      socket.destroy();
      return;
    }
    const flow = new HttpFlow(this.#flowDeps, client, server, direction);
    const { limits, clock } = this.#deps;
    let held: Held = new Opening(socket, limits, clock.monotonicNs(), (kind, bytes) => {
      this.#connections.delete(held);
      held = this.#serve(kind, socket, flow, bytes);
      this.#connections.add(held);
    });
    this.#connections.add(held);
    socket.on('close', () => this.#connections.delete(held));
  }

  #serve(kind: 'http1' | 'http2', socket: Socket, flow: HttpFlow, bytes: Buffer): Held {
    if (kind === 'http2') return new Http2Connection(socket, bytes, flow, this.#context);
    const connection = new HttpConnection(socket, flow, this.#context);
    connection.begin(bytes);
    return connection;
  }

  #check(): void {
    const now = this.#deps.clock.monotonicNs();
    for (const connection of this.#connections) connection.check(now);
  }

  /** Closes listeners and connections. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const connection of this.#connections) connection.destroy();
    const closing = this.#servers
      .splice(0)
      .map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    await Promise.all(closing);
  }
}
