import { isIPv6, Socket } from 'node:net';
import { errorText, SystemError } from '../errors.ts';
import type { Sockets } from './types.ts';

export interface DialOptions {
  /** Where the connection comes from, any address; undefined: as the kernel chooses. Port 0: any. */
  readonly from: { readonly address: string; readonly port: number } | undefined;
  readonly to: { readonly address: string; readonly port: number };
  /** SO_MARK. */
  readonly mark: number;
  readonly netns?: string | undefined;
}

/** The socket of {@link dialFrom}, not connected yet. @throws what `openSocket` throws */
export function openDialSocket(
  sockets: Pick<Sockets, 'openSocket'>,
  { from, to, mark, netns }: DialOptions,
): number {
  return sockets.openSocket({
    family: isIPv6(to.address) ? 6 : 4,
    type: 'stream',
    transparent: true,
    mark,
    netns,
    bind: from,
  });
}

/** A socket that says `error`, once there is somebody to listen. */
export function failedDial(error: unknown): Socket {
  return new Socket().destroy(error instanceof Error ? error : new SystemError(errorText(error)));
}

/**
 * Begins to connect to a server from an address that need not be this machine's (IP_TRANSPARENT). The socket is half-open
 * capable, and says `connect` or `error`; it never throws. An address and port that another socket of this namespace
 * holds, the client's own for example, is EADDRINUSE or EADDRNOTAVAIL.
 */
export function dialFrom(sockets: Pick<Sockets, 'openSocket'>, options: DialOptions): Socket {
  const { address: host, port } = options.to;
  try {
    const fd = openDialSocket(sockets, options);
    // Connecting begins before the event loop polls: until then nobody notices that the socket is not connected.
    return new Socket({ fd, allowHalfOpen: true }).connect({ host, port });
  } catch (error) {
    return failedDial(error);
  }
}
