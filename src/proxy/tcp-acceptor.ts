import type { Socket } from 'node:net';
import type { Logger } from '../base/log.ts';
import type { Direction } from '../model/map-state.ts';
import type { ProxyListener } from '../model/proxy-protocol.ts';
import type { Listening, ListenOn } from './listening.ts';
import type { ByteStream, Clock, FlowEnd } from './types.ts';

const CHECK_EVERY_MS = 1000;
/** Of the connections that a listener may have, for one client address. */
const CLIENT_SHARE = 0.25;

/** A connection in work. */
export interface Held {
  /** Ends it if it waits too long for something. Called about every second. */
  check(nowNs: number): void;
  destroy(): void;
}

/** One accepted connection: who connected, to whom it wanted to, and which listener took it. */
export interface Accepted<S = Socket> {
  readonly socket: S;
  readonly client: FlowEnd;
  readonly server: FlowEnd;
  /** Of the listener. */
  readonly direction: Direction;
}

export interface AcceptorDeps<S> {
  readonly listenOn: ListenOn<S>;
  readonly maxConnections: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes a connection over. */
  hold(accepted: Accepted<S>): Held;
}

/** Accepts redirected connections on inherited listeners, whose sockets have the addresses of client and server. */
export class TcpAcceptor<S extends ByteStream> {
  readonly #deps: AcceptorDeps<S>;
  readonly #listening: Listening[] = [];
  readonly #held = new Set<Held>();
  readonly #byClient = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: AcceptorDeps<S>) {
    this.#deps = deps;
  }

  /** Begins to accept on a listening socket. */
  async listen({ fd, name }: ProxyListener): Promise<void> {
    const direction: Direction = name.endsWith('-ingress') ? 'ingress' : 'egress';
    const { listenOn, maxConnections, log } = this.#deps;
    const listening = await listenOn(fd, maxConnections, {
      onConnection: (socket, client, server) => this.#accept(socket, direction, { client, server }),
      onError: (error) => log.error({ listener: name, error: error.message }, 'listener'),
    });
    this.#listening.push(listening);
    this.#timer ??= setInterval(() => this.#check(), CHECK_EVERY_MS);
  }

  #accept(
    socket: S,
    direction: Direction,
    { client, server }: { readonly client: FlowEnd | undefined; readonly server: FlowEnd | undefined },
  ): void {
    if (client === undefined || server === undefined) {
      socket.destroy();
      return;
    }
    if (!this.#admit(client.address)) {
      socket.resetAndDestroy();
      return;
    }
    const held = this.#deps.hold({ socket, client, server, direction });
    this.#held.add(held);
    socket.on('close', () => {
      this.#held.delete(held);
      this.#release(client.address);
    });
  }

  /** One client must not take the connections of all others. */
  #admit(address: string): boolean {
    const open = this.#byClient.get(address) ?? 0;
    if (open >= this.#deps.maxConnections * CLIENT_SHARE) return false;
    this.#byClient.set(address, open + 1);
    return true;
  }

  #release(address: string): void {
    const open = this.#byClient.get(address) ?? 0;
    if (open > 1) this.#byClient.set(address, open - 1);
    else this.#byClient.delete(address);
  }

  #check(): void {
    const now = this.#deps.clock.monotonicNs();
    for (const held of this.#held) held.check(now);
  }

  /** Closes listeners and connections. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const held of this.#held) held.destroy();
    const closing = this.#listening.splice(0).map((listening) => listening.close());
    await Promise.all(closing);
  }
}
