import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { loadSockets } from '../../src/base/sockets/index.ts';

const CONNECT_MS = 700;

export interface Opened {
  readonly socket: Socket;
  /** What the server's end says of the connection; undefined when there is no server of ours. */
  readonly server: Socket | undefined;
}

/** Sockets of one test, in any namespace (by its path); all closed at its end. */
export class NetSockets {
  readonly #open: { destroy(): void }[] = [];

  #descriptor(
    netns: string,
    options: { type: 'stream' | 'datagram'; family: 4 | 6; address?: string; port?: number },
  ): number {
    const { type, family, address, port = 0 } = options;
    return loadSockets().openSocket({
      family,
      type,
      netns,
      ...(address !== undefined && { bind: { address, port } }),
    });
  }

  /** A server whose accepted sockets go to `onSocket`; half-open capable. */
  async listen(
    netns: string,
    address: string,
    port: number,
    onSocket: (socket: Socket) => void,
  ): Promise<Server> {
    const family = address.includes(':') ? 6 : 4;
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#open.push(socket);
      socket.on('error', () => undefined);
      onSocket(socket);
    });
    const bind = { address, port };
    server.listen({ fd: loadSockets().openSocket({ family, type: 'stream', netns, bind, listen: 256 }) });
    await once(server, 'listening');
    this.#open.push({ destroy: () => server.close() });
    return server;
  }

  /** A socket that connects, and whether it did; unsettled as long as nothing answers. */
  open(
    netns: string,
    address: string,
    port: number,
    from?: { address: string; port: number },
  ): { readonly socket: Socket; readonly connected: Promise<boolean> } {
    const family = address.includes(':') ? 6 : 4;
    const fd = this.#descriptor(netns, { type: 'stream', family, ...from });
    const socket = new Socket({ fd, allowHalfOpen: true });
    this.#open.push(socket);
    socket.on('error', () => undefined);
    socket.connect({ host: address, port });
    const connected = once(socket, 'connect').then(
      () => true,
      () => false,
    );
    return { socket, connected };
  }

  /** A connected socket, or undefined when nothing answered, or a refusal. */
  async connect(
    netns: string,
    address: string,
    port: number,
    from?: { address: string; port: number },
    waitMs = CONNECT_MS,
  ): Promise<Socket | undefined> {
    const { socket, connected } = this.open(netns, address, port, from);
    return (await Promise.race([connected, delay(waitMs, false)])) ? socket : undefined;
  }

  async udp(netns: string, address: string, port = 0): Promise<UdpSocket> {
    const family = address.includes(':') ? 6 : 4;
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    socket.on('error', () => undefined);
    const listening = once(socket, 'listening');
    socket.bind({ fd: this.#descriptor(netns, { type: 'datagram', family, address, port }) });
    await listening;
    this.#open.push({ destroy: () => socket.close() });
    return socket;
  }

  /** Ends all of them. Connections by a reset: of one that is cut nothing is sent again and again. */
  close(): void {
    for (const socket of this.#open.splice(0).reverse()) {
      if (socket instanceof Socket) cut(socket);
      else socket.destroy();
    }
  }
}

/** Ends a connection at once, with a reset if it was made. */
export function cut(socket: Socket): void {
  if (socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}

/** Settles when the socket is closed, however it ended. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** The first bytes that come within the time, as text; `closed` when the end or a reset comes first. */
export function firstBytes(socket: Socket, waitMs = CONNECT_MS): Promise<string | undefined> {
  return new Promise((resolve) => {
    const end = (result: string | undefined): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('close', onClose);
      resolve(result);
    };
    const onData = (chunk: Buffer): void => end(String(chunk));
    const onClose = (): void => end('closed');
    const timer = setTimeout(() => end(undefined), waitMs);
    socket.once('data', onData).once('close', onClose);
  });
}
