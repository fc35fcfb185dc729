import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { NumericIdentity } from '../model/identity.ts';
import type { AccessLogRecord } from '../model/l7.ts';

/** Both clocks that the proxy reads. They are never subtracted from each other. */
export interface Clock {
  /** Nanoseconds since some moment; never runs backwards. */
  monotonicNs(): number;
  /** Milliseconds since 1970, UTC. */
  realtimeMs(): number;
}

/** One end of a flow: address as text (IPv4 never mapped into IPv6) and port in host order. */
export interface FlowEnd {
  readonly address: string;
  readonly port: number;
}

/** Identities by which the datapath judged a flow. */
export interface FlowIdentities {
  readonly client: NumericIdentity;
  readonly server: NumericIdentity;
  /** Which ends are endpoints of this node; without it, those that the agent told of. */
  readonly local?: { readonly client: boolean; readonly server: boolean } | undefined;
  /** Whether the datapath judges the flow so at this moment. Without it, the identities never change. */
  holds?(): boolean;
}

/**
 * Who is speaking, as the kernel knows it.
 * @param protocol IANA number
 * @returns undefined when the kernel has no such flow; its requests are denied
 */
export type FlowOf = (client: FlowEnd, server: FlowEnd, protocol: number) => FlowIdentities | undefined;

/** What the HTTP/1 part uses of a TCP connection; `net.Socket` and `TcpStream` are ones. Buffers are handed over. */
export interface ByteStream extends EventEmitter {
  readonly writable: boolean;
  readonly writableEnded: boolean;
  readonly writableNeedDrain: boolean;
  readonly writableLength: number;
  readonly destroyed: boolean;
  isPaused(): boolean;
  pause(): this;
  resume(): this;
  write(bytes: Buffer): boolean;
  end(): this;
  destroy(error?: Error): this;
  setNoDelay(noDelay?: boolean): this;
  /** Ends the connection with a RST. */
  resetAndDestroy(): this;
}

/** What the proxy uses of a TCP socket; `net.Socket` is one. */
export interface ByteSocket extends Duplex {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly connecting: boolean;
  setNoDelay(noDelay?: boolean): this;
  /** Ends the connection with a RST. */
  resetAndDestroy(): this;
}

/**
 * Begins to connect to the server with the client's address and port as source. The socket is half-open capable
 * (`allowHalfOpen`) and tells success by `connect`, failure by `error`.
 */
export type Dial = (client: FlowEnd, server: FlowEnd) => ByteSocket;

/** The same by the cheaper sort of connection, where there is one. */
export type DialStream = (client: FlowEnd, server: FlowEnd) => ByteStream;

/** Takes records of the access log; never waits. */
export type LogSink = (record: AccessLogRecord) => void;
