/**
 * Sockets that JavaScript cannot make, handed out as descriptors. Whoever receives one owns it: give it to
 * `server.listen({fd})`, to `spawn`'s stdio, or close it with `fs.closeSync`.
 */
export interface SocketOptions {
  readonly family: 4 | 6;
  /** `raw-udp` only sends: datagrams with their UDP header, from any address when transparent. */
  readonly type: 'stream' | 'datagram' | 'raw-udp';
  /** Path of a network namespace (`/run/netns/x`, `/proc/123/ns/net`); entered for the call only. */
  readonly netns?: string | undefined;
  /** SO_MARK. */
  readonly mark?: number | undefined;
  /** IP_TOS / IPV6_TCLASS, 0 to 255: DSCP in the upper six bits. Default 0. */
  readonly trafficClass?: number | undefined;
  /** IP_TRANSPARENT / IPV6_TRANSPARENT. */
  readonly transparent?: boolean | undefined;
  readonly freebind?: boolean | undefined;
  /** IPV6_V6ONLY; default true. */
  readonly v6only?: boolean | undefined;
  /** Default true. */
  readonly reuseAddress?: boolean | undefined;
  readonly bind?:
    | { readonly address: string /** Host order; 0 lets the kernel choose. */; readonly port: number }
    | undefined;
  /** Backlog; only for streams. Without it the socket does not listen. */
  readonly listen?: number | undefined;
}

export interface Sockets {
  /** @returns descriptor, close-on-exec, non-blocking. @throws SystemError or NotPermittedError with errno as `cause` */
  openSocket(options: SocketOptions): number;
  /** ifindex of a device in a namespace (default: the caller's). */
  interfaceIndex(name: string, netns?: string): number;
}
