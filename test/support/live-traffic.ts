import assert from 'node:assert/strict';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createIcmpProbe } from '../../probes/icmp/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { statuses } from './http-statuses.ts';
import type { LiveLab } from './live-lab.ts';
import { cut, NetSockets } from './net-sockets.ts';

/** How long a flow may take to get through on a busy machine. */
export const OPEN_MS = 5000;
/** How long after a drop was counted nothing may come through all the same. */
const GRACE_MS = 100;
const POLL_MS = 5;
const STREAM_MS = 2;

/** `open`: it was answered; `133`, `181`: dropped, and policy counted it so; `refused`: reset; `silent`: none of these. */
export type Outcome = 'open' | '133' | '181' | 'refused' | 'silent';

export interface FlowOptions {
  readonly family?: 4 | 6;
  /** In the place of the address of whom it is sent to. */
  readonly address?: string;
  readonly sourcePort?: number;
}

export interface HalfClosed {
  readonly client: Socket;
  readonly server: Socket;
  /** When it was, on the clock of `performance.now`. */
  readonly since: number;
}

/** An answer on time, or not. */
async function answered(
  socket: Socket | UdpSocket,
  event: 'data' | 'message',
  waitMs: number,
): Promise<boolean> {
  return once(socket, event, { signal: AbortSignal.timeout(waitMs) }).then(
    () => true,
    () => false,
  );
}

/** Says something over a connection. @returns whether anything comes back within the time */
export function echo(socket: Socket, waitMs = OPEN_MS): Promise<boolean> {
  const answer = answered(socket, 'data', waitMs);
  socket.write('x');
  return answer;
}

/** Real flows between the places of a lab, and what becomes of them. */
export class LiveTraffic {
  readonly live: LiveLab;
  readonly #servers = new NetSockets();
  readonly #webServers: HttpServer[] = [];
  readonly #listeners = new Map<string, Server>();
  readonly #datagrams = new Map<string, UdpSocket>();
  #clients = new NetSockets();
  /** Connections that clients made. */
  readonly #accepted = new Set<Socket>();
  #requests: string[] = [];
  #timers: NodeJS.Timeout[] = [];

  constructor(live: LiveLab) {
    this.live = live;
  }

  /** Answers connections and datagrams at ports of a place, over both families, with what they say. */
  async serve(name: string, ports: readonly number[]): Promise<void> {
    const { netns } = this.live.place(name);
    for (const port of ports) {
      for (const address of ['0.0.0.0', '::']) {
        const listener = await this.#servers.listen(netns, address, port, (socket) => {
          this.#accepted.add(socket);
          socket.once('close', () => this.#accepted.delete(socket));
          socket.on('data', (bytes) => socket.write(bytes));
          socket.on('end', () => socket.end());
        });
        if (address === '0.0.0.0') this.#listeners.set(`${name} ${port}`, listener);
        const socket = await this.#servers.udp(netns, address, port);
        socket.on('message', (message, from) => socket.send(message, from.port, from.address));
        if (address === '0.0.0.0') this.#datagrams.set(`${name} ${port}`, socket);
      }
    }
  }

  #listener(name: string, port: number): Server {
    const listener = this.#listeners.get(`${name} ${port}`);
    assert.ok(listener !== undefined, `${name} serves port ${port}`);
    return listener;
  }

  /** The socket of a place at a port for datagrams over IPv4. */
  server(name: string, port: number): UdpSocket {
    const socket = this.#datagrams.get(`${name} ${port}`);
    assert.ok(socket !== undefined, `${name} serves port ${port}`);
    return socket;
  }

  /** Answers requests at a port of a place with 200, and notes those that reach it. */
  async serveHttp(name: string, port: number): Promise<void> {
    const server = createServer((incoming, response) => {
      this.#requests.push(`${incoming.method} ${incoming.url}`);
      incoming.resume();
      response.end('fine\n');
    });
    server.on('clientError', (_error, socket) => {
      // A connection that was given up without a byte brought nothing.
      if ((socket as Socket).bytesRead > 0) this.#requests.push('a broken request');
      socket.destroy();
    });
    const { netns } = this.live.place(name);
    const bind = { address: '0.0.0.0', port };
    server.listen({ fd: loadSockets().openSocket({ family: 4, type: 'stream', netns, bind, listen: 64 }) });
    await once(server, 'listening');
    this.#webServers.push(server);
  }

  /** What reached the web servers since the last call. */
  requests(): readonly string[] {
    const seen = this.#requests;
    this.#requests = [];
    return seen;
  }

  /** A connection that stays until the end, whose client has said all that it had to say. */
  async halfClosed(from: string, to: string, port: number): Promise<HalfClosed> {
    const { netns } = this.live.place(to);
    const accepted = new Promise<Socket>((resolve) => {
      void this.#servers.listen(netns, this.live.address(to), port, resolve);
    });
    const source = this.live.place(from).netns;
    const client = await this.#servers.connect(source, this.live.address(to), port, undefined, OPEN_MS);
    assert.ok(client !== undefined, `${from} -> ${to}:${port} is connected`);
    const server = await accepted;
    const ended = once(server, 'end', { signal: AbortSignal.timeout(OPEN_MS) });
    server.resume();
    client.end();
    await ended;
    return { client, server, since: performance.now() };
  }

  /** Ends all connections that clients opened, so that nothing of them is sent, and dropped, in a later case. */
  reset(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#clients.close();
    for (const socket of this.#accepted) cut(socket);
    this.#clients = new NetSockets();
  }

  stop(): void {
    this.reset();
    for (const server of this.#webServers) {
      server.close();
      server.closeAllConnections();
    }
    this.#servers.close();
  }

  #source(from: string, { family = 4, sourcePort }: FlowOptions) {
    return sourcePort === undefined
      ? undefined
      : { address: this.live.address(from, family), port: sourcePort };
  }

  #address(to: string, { family = 4, address }: FlowOptions): string {
    return address ?? this.live.address(to, family);
  }

  /** Opens a connection that has to get through. */
  async connect(from: string, to: string, port: number, options: FlowOptions = {}): Promise<Socket> {
    const { netns } = this.live.place(from);
    const address = this.#address(to, options);
    const socket = await this.#clients.connect(netns, address, port, this.#source(from, options), OPEN_MS);
    assert.ok(socket !== undefined, `${from} -> ${to}:${port} is connected`);
    return socket;
  }

  /** A connection that may come to be. */
  open(from: string, to: string, port: number, options: FlowOptions = {}) {
    const { netns } = this.live.place(from);
    return this.#clients.open(netns, this.#address(to, options), port, this.#source(from, options));
  }

  /** Both ends of a connection that has to get through. */
  async pair(
    from: string,
    to: string,
    port: number,
    options: FlowOptions = {},
  ): Promise<readonly [Socket, Socket]> {
    const accepted = once(this.#listener(to, port), 'connection');
    const socket = await this.connect(from, to, port, options);
    const [inside] = (await accepted) as [Socket];
    return [socket, inside];
  }

  /** Which of these places connections and datagrams of IPv4 came to at a port while something was done. */
  async reached(
    names: readonly string[],
    port: number,
    what: () => Promise<unknown>,
  ): Promise<readonly string[]> {
    const seen = new Set<string>();
    const watched = names.map((name) => {
      const note = (): void => void seen.add(name);
      const [listener, socket] = [this.#listener(name, port), this.server(name, port)];
      listener.on('connection', note);
      socket.on('message', note);
      return () => {
        listener.off('connection', note);
        socket.off('message', note);
      };
    });
    try {
      await what();
    } finally {
      for (const end of watched) end();
    }
    return [...seen].sort();
  }

  /** Waits until the other end has ended, and ends it from here. */
  async ended(socket: Socket): Promise<void> {
    if (!socket.readableEnded) await once(socket, 'end', { signal: AbortSignal.timeout(OPEN_MS) });
    const closed = once(socket, 'close');
    socket.end();
    await closed;
  }

  /** A socket for datagrams of a place, at any port. */
  udpSocket(from: string, { family = 4, sourcePort = 0 }: FlowOptions = {}): Promise<UdpSocket> {
    return this.#clients.udp(this.live.place(from).netns, this.live.address(from, family), sourcePort);
  }

  /** What becomes of a connection from one place to a port of another, with one exchange over it. */
  async tcp(from: string, to: string, port: number, options: FlowOptions = {}): Promise<Outcome> {
    let socket: Socket | undefined;
    const outcome = await this.#outcome(async () => {
      const opening = this.open(from, to, port, options);
      socket = opening.socket;
      if (!(await opening.connected)) return 'refused';
      return (await echo(opening.socket)) ? 'open' : 'silent';
    });
    if (socket !== undefined) cut(socket);
    return outcome;
  }

  /** What becomes of a datagram from one place to a port of another. */
  udp(
    from: string,
    to: string,
    port: number,
    options: FlowOptions & { bytes?: number } = {},
  ): Promise<Outcome> {
    return this.#outcome(async () => {
      const socket = await this.udpSocket(from, options);
      const answer = answered(socket, 'message', OPEN_MS);
      socket.send(Buffer.alloc(options.bytes ?? 1), port, this.#address(to, options));
      return (await answer) ? 'open' : 'silent';
    });
  }

  /** Datagrams that never pause, until `end`, which gives how many were sent and how many came back. */
  async stream(from: string, to: string, port: number) {
    const socket = await this.udpSocket(from);
    const address = this.live.address(to);
    let sent = 0;
    let came = 0;
    socket.on('message', () => came++);
    const timer = setInterval(() => {
      sent++;
      socket.send('x', port, address);
    }, STREAM_MS);
    this.#timers.push(timer);
    const end = async (): Promise<readonly [sent: number, came: number]> => {
      clearInterval(timer);
      const deadline = performance.now() + (came === 0 ? GRACE_MS : OPEN_MS);
      while (came < sent && performance.now() < deadline) await delay(POLL_MS);
      return [sent, came];
    };
    return { end, sent: () => sent };
  }

  /** What becomes of an echo request. */
  ping(from: string, to: string, options: FlowOptions & { bytes?: number } = {}): Promise<Outcome> {
    return this.#outcome(async () => {
      const { netns } = this.live.place(from);
      const probe = createIcmpProbe({ netns, timeoutMs: OPEN_MS, payloadBytes: options.bytes ?? 56 });
      await probe.start();
      try {
        return (await probe.probe(this.#address(to, options))).kind === 'reply' ? 'open' : 'silent';
      } finally {
        await probe.stop();
      }
    });
  }

  /** Statuses that a server answers what is sent over one connection with, `count` of them or what came until it ended. */
  async http(from: string, to: string, port: number, text: string, count = 1): Promise<readonly number[]> {
    const socket = await this.connect(from, to, port);
    return statuses(socket, text, count);
  }

  /** Settles with what the attempt comes to, or with the reason for which policy dropped a packet meanwhile. */
  async #outcome(attempt: () => Promise<Outcome>): Promise<Outcome> {
    const dropped = (): readonly [number, number] => [
      this.live.drops(DropReason.policy),
      this.live.drops(DropReason.policyDeny),
    ];
    const before = dropped();
    let result: Outcome | undefined;
    const settled = attempt().then((outcome) => {
      result = outcome;
    });
    while (result === undefined) {
      await Promise.race([settled, delay(POLL_MS)]);
      const [policy, deny] = dropped();
      if (result !== undefined || (policy === before[0] && deny === before[1])) continue;
      await Promise.race([settled, delay(GRACE_MS)]);
      return result ?? (deny > before[1] ? '181' : '133');
    }
    return result;
  }
}
