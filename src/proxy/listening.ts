import { createServer, type Socket } from 'node:net';
import type { Streams, TcpStream } from '../base/sockets/streams.ts';
import type { FlowEnd } from './types.ts';

/** What is told of a listening socket. */
export interface ListenHandlers<S> {
  /** Without an end, the connection has gone already. */
  onConnection(socket: S, client: FlowEnd | undefined, server: FlowEnd | undefined): void;
  onError(error: Error): void;
}

export interface Listening {
  close(): Promise<void>;
}

/** Accepts on an inherited listening socket, which belongs to what is returned; at most so many connections at once. */
export type ListenOn<S> = (
  fd: number,
  maxConnections: number,
  handlers: ListenHandlers<S>,
) => Promise<Listening>;

/** The address without the prefix that an IPv6 socket gives IPv4 ones. */
function flowEnd(address: string | undefined, port: number | undefined): FlowEnd | undefined {
  if (address === undefined || port === undefined) return undefined;
  return { address: address.startsWith('::ffff:') ? address.slice(7) : address, port };
}

/** By Node's sockets. */
export const listenBySockets: ListenOn<Socket> = async (fd, maxConnections, handlers) => {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    handlers.onConnection(
      socket,
      flowEnd(socket.remoteAddress, socket.remotePort),
      flowEnd(socket.localAddress, socket.localPort),
    ),
  );
  server.maxConnections = maxConnections;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd }, resolve);
  });
  server.on('error', (error) => handlers.onError(error));
  return { close: () => new Promise((resolve) => server.close(() => resolve())) };
};

/** By the cheaper sort of connection. */
export function listenByStreams(streams: Streams): ListenOn<TcpStream> {
  return async (fd, maxConnections, handlers) => {
    let open = 0;
    const listener = streams.listen(fd, {
      accepts: () => open < maxConnections,
      onConnection({ stream, peer, own }) {
        open++;
        stream.on('close', () => {
          open--;
        });
        handlers.onConnection(stream, flowEnd(peer.address, peer.port), flowEnd(own.address, own.port));
      },
      onError: (error) => handlers.onError(error),
    });
    return { close: async () => listener.close() };
  };
}
