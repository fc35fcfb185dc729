import { createServer, type Server } from 'node:net';
import type { Logger } from '../../base/log.ts';
import type { ByteSocket, FlowEnd } from '../types.ts';
import { TcpConnection, type TcpConnectionDeps } from './tcp-connection.ts';

const SWEEP_MS = 500;
const MAPPED = /^::ffff:(?=\d+\.)/i;

function end(address: string | undefined, port: number | undefined): FlowEnd | undefined {
  return address === undefined || port === undefined
    ? undefined
    : { address: address.replace(MAPPED, ''), port };
}

/** DNS over TCP: takes connections that were redirected to the proxy. */
export class TcpProxy {
  readonly #deps: TcpConnectionDeps & { readonly log: Logger };
  readonly #servers: Server[] = [];
  readonly #connections = new Map<TcpConnection, string>();
  readonly #ofClient = new Map<string, number>();
  #sweeping: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: TcpConnectionDeps & { readonly log: Logger }) {
    this.#deps = deps;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Begins to accept on a listening socket; it belongs to the proxy then. */
  async listen(fd: number, name: string): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd }, resolve);
    });
    server.on('error', (error) => this.#deps.log.error({ listener: name, error: error.message }, 'listener'));
    this.#servers.push(server);
  }

  /** Takes over an accepted socket (`allowHalfOpen`), whose own address is that of the server that was asked for. */
  accept(socket: ByteSocket): void {
    const client = end(socket.remoteAddress, socket.remotePort);
    const server = end(socket.localAddress, socket.localPort);
    // An error after the end of the connection is nobody's.
    socket.on('error', () => undefined);
    if (client === undefined || server === undefined || !this.#hasRoom(client.address)) {
      socket.resetAndDestroy();
      return;
    }
    const connection = new TcpConnection(socket, { client, server }, this.#deps);
    this.#connections.set(connection, client.address);
    this.#ofClient.set(client.address, (this.#ofClient.get(client.address) ?? 0) + 1);
    socket.once('close', () => this.#forget(connection));
    this.#sweepSoon();
  }

  /** Closes listeners and cuts every connection off. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#sweeping);
    for (const connection of [...this.#connections.keys()]) connection.abort();
    const closing = this.#servers
      .splice(0)
      .map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    await Promise.all(closing);
  }

  #hasRoom(client: string): boolean {
    const { limits, counters } = this.#deps;
    const mine = this.#ofClient.get(client) ?? 0;
    const isFree = this.#connections.size < limits.tcpConnections && mine < limits.tcpConnectionsPerClient;
    if (!isFree) counters.limitedQueries++;
    return isFree && !this.#closed;
  }

  #forget(connection: TcpConnection): void {
    const client = this.#connections.get(connection);
    if (client === undefined) return;
    this.#connections.delete(connection);
    const left = (this.#ofClient.get(client) ?? 1) - 1;
    if (left > 0) this.#ofClient.set(client, left);
    else this.#ofClient.delete(client);
  }

  #sweepSoon(): void {
    if (this.#closed) return;
    this.#sweeping ??= setTimeout(() => {
      this.#sweeping = undefined;
      const now = this.#deps.clock.monotonicNs();
      for (const connection of [...this.#connections.keys()]) connection.sweep(now);
      if (this.#connections.size > 0) this.#sweepSoon();
    }, SWEEP_MS);
  }
}
