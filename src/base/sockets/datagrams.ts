import { constants } from 'node:os';
import { loadAddon } from '../assets.ts';
import { SystemError } from '../errors.ts';
import type { IpBytes, IpFamily } from '../ip.ts';

declare const handleBrand: unique symbol;
interface Handle {
  readonly [handleBrand]: true;
}

/** The functions of `build/sockets.node`; the comments in datagram_addon.c are their contract. */
interface Native {
  datagramsOpen(onReadable: () => void): Handle | number;
  datagramsAdd(handle: Handle, fd: number, family: number): number;
  datagramsConnect(handle: Handle, flow: Uint8Array, family: number, mark: number): number;
  datagramsRemove(handle: Handle, tag: number): number;
  datagramsSend(handle: Handle, tag: number, bytes: Uint8Array): number;
  datagramsReceive(handle: Handle, bytes: Uint8Array, records: Uint8Array): number;
  datagramsReply(fd: number, flow: Uint8Array, family: number, bytes: Uint8Array): number;
  datagramsClose(handle: Handle): void;
  datagramsLayout(): Int32Array;
}

/** Sizes in bytes of `struct datagram_flow` and `struct datagram_record`, and the numbers of datagram.h. */
export const DATAGRAM_LAYOUT = { flowBytes: 40, recordBytes: 64, batch: 32, slotBytes: 65536 } as const;

const FLOW_OFFSET = { client: 0, server: 16, clientPort: 32, serverPort: 36 } as const;
/** In 32-bit words. */
const RECORD = { tag: 0, error: 1, length: 2, slot: 3, flow: 4 } as const;
const RECORD_WORDS = DATAGRAM_LAYOUT.recordBytes / 4;

/** Two ends of a datagram flow. Ports in host order. */
export interface DatagramFlow {
  readonly family: IpFamily;
  readonly client: IpBytes;
  readonly clientPort: number;
  readonly server: IpBytes;
  readonly serverPort: number;
}

export interface DatagramHandlers {
  /** A datagram for a listener. `flow.server` is where it was sent to. `bytes` is overwritten after the call. */
  onQuery(flow: DatagramFlow, bytes: Uint8Array): void;
  /** A datagram for the socket with this tag; `bytes` is overwritten after the call. */
  onAnswer(tag: number, bytes: Uint8Array): void;
  /** The network said of a socket that its server cannot be reached; name of the errno. */
  onError(tag: number, code: string): void;
}

function errnoName(errno: number): string {
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `E${errno}`;
}

function failure(what: string, result: number): SystemError {
  const name = errnoName(-result);
  const cause = Object.assign(new Error(name), { errno: result, code: name });
  return new SystemError(`${what} failed with ${name}`, { code: `SOCKET_${name}`, cause });
}

function writeFlow(target: Buffer, flow: DatagramFlow): void {
  target.set(flow.client, FLOW_OFFSET.client);
  target.set(flow.server, FLOW_OFFSET.server);
  target.writeUInt32LE(flow.clientPort, FLOW_OFFSET.clientPort);
  target.writeUInt32LE(flow.serverPort, FLOW_OFFSET.serverPort);
}

/**
 * Sockets of a transparent proxy for datagrams. Listeners say where a datagram was sent to; upstream sockets speak to
 * that server from the client's own address and port; replies come from the server's.
 */
export class Datagrams {
  readonly #native: Native;
  readonly #handle: Handle;
  readonly #handlers: DatagramHandlers;
  readonly #families = new Map<number, IpFamily>();
  readonly #bytes = Buffer.allocUnsafeSlow(DATAGRAM_LAYOUT.batch * DATAGRAM_LAYOUT.slotBytes);
  readonly #records = Buffer.allocUnsafeSlow(DATAGRAM_LAYOUT.batch * DATAGRAM_LAYOUT.recordBytes);
  /** The same bytes: copies of a plain array are cheaper than those of a `Buffer`. */
  readonly #octets = new Uint8Array(this.#records.buffer, this.#records.byteOffset, this.#records.length);
  readonly #words = new Uint32Array(this.#records.buffer, this.#records.byteOffset, this.#records.length / 4);
  readonly #flow = Buffer.allocUnsafeSlow(DATAGRAM_LAYOUT.flowBytes);
  #closed = false;

  /** @throws SystemError code ADDON_MISSING, or `SOCKET_<errno>` */
  constructor(handlers: DatagramHandlers) {
    this.#native = loadAddon<Native>('sockets.node');
    this.#handlers = handlers;
    const handle = this.#native.datagramsOpen(() => this.#read());
    if (typeof handle === 'number') throw failure('make an epoll set', handle);
    this.#handle = handle;
  }

  /**
   * Reads a bound socket of type `datagram` from now on. The descriptor belongs to this object when it succeeds.
   * @throws SystemError `SOCKET_<errno>`
   */
  listen(fd: number, family: IpFamily): void {
    const tag = this.#native.datagramsAdd(this.#handle, fd, family);
    if (tag < 0) throw failure(`listen for datagrams on descriptor ${fd}`, tag);
    this.#families.set(tag, family);
  }

  /**
   * A socket at the client's address and port, connected to the server; needs CAP_NET_ADMIN.
   * @returns its tag, or a negative errno
   */
  connect(flow: DatagramFlow, mark: number): number {
    writeFlow(this.#flow, flow);
    return this.#native.datagramsConnect(this.#handle, this.#flow, flow.family, mark);
  }

  /** Sends to the server of a connected socket. @returns 0 or a negative errno */
  send(tag: number, bytes: Uint8Array): number {
    return this.#native.datagramsSend(this.#handle, tag, bytes);
  }

  /** Sends from the flow's server to its client through a socket of type `raw-udp`. @returns 0 or a negative errno */
  reply(fd: number, flow: DatagramFlow, bytes: Uint8Array): number {
    writeFlow(this.#flow, flow);
    return this.#native.datagramsReply(fd, this.#flow, flow.family, bytes);
  }

  /** Closes one connected socket; nothing more of it is reported. */
  remove(tag: number): void {
    if (!this.#closed) this.#native.datagramsRemove(this.#handle, tag);
  }

  /** Closes every socket. May be called twice. */
  close(): void {
    this.#closed = true;
    this.#native.datagramsClose(this.#handle);
  }

  #read(): void {
    const count = this.#native.datagramsReceive(this.#handle, this.#bytes, this.#records);
    if (count < 0) throw failure('read datagrams', count);
    for (let i = 0; i < count && !this.#closed; i++) this.#dispatch(i * RECORD_WORDS);
  }

  #dispatch(base: number): void {
    const tag = this.#words[base + RECORD.tag] ?? 0;
    const error = this.#words[base + RECORD.error] ?? 0;
    const family = this.#families.get(tag);
    if (error !== 0) {
      if (family === undefined) this.#handlers.onError(tag, errnoName(error));
      return;
    }
    const start = (this.#words[base + RECORD.slot] ?? 0) * DATAGRAM_LAYOUT.slotBytes;
    const bytes = this.#bytes.subarray(start, start + (this.#words[base + RECORD.length] ?? 0));
    if (family === undefined) this.#handlers.onAnswer(tag, bytes);
    else this.#query((base + RECORD.flow) * 4, family, bytes);
  }

  #query(at: number, family: IpFamily, bytes: Uint8Array): void {
    const size = family === 4 ? 4 : 16;
    const clientPort = this.#records.readUInt32LE(at + FLOW_OFFSET.clientPort);
    // The kernel did not say where it went, or it came from nowhere that could be answered.
    if (clientPort === 0) return;
    const address = (from: number): IpBytes => this.#octets.slice(from, from + size);
    const flow = {
      family,
      client: address(at + FLOW_OFFSET.client),
      clientPort,
      server: address(at + FLOW_OFFSET.server),
      serverPort: this.#records.readUInt32LE(at + FLOW_OFFSET.serverPort),
    };
    this.#handlers.onQuery(flow, bytes);
  }
}

/** What the addon says of its layouts: flow, record, batch, slot. For the test that compares it with `DATAGRAM_LAYOUT`. */
export function nativeDatagramLayout(): readonly number[] {
  return [...loadAddon<Native>('sockets.node').datagramsLayout()];
}
