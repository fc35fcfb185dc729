import { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import {
  STREAM_EVENT,
  type StreamHandle,
  type StreamNative,
  streamError,
  wouldWait,
} from './stream-native.ts';

/** What waits to be sent at most before `write` asks to wait; as of Node's sockets. */
const HIGH_WATER_BYTES = 65_536;

/** What the streams of one process share. */
export interface StreamShared {
  readonly native: StreamNative;
  /** What is read comes here first. */
  readonly scratch: Buffer;
}

/**
 * A TCP connection with the methods and events of `net.Socket` that a proxy needs, half-open capable, without the
 * machinery of streams, which costs a proxy more than the system calls that it makes. What comes is told at once as
 * `data`, in a buffer of its own.
 *
 * Events: `connect`, `data`, `end`, `drain`, `error`, and last `close`. It is read from the first listener of `data` on.
 */
export class TcpStream extends EventEmitter {
  readonly #shared: StreamShared;
  readonly #fd: number;
  readonly #handle: StreamHandle;
  /** What is to be sent when the kernel takes it. */
  #pending: Buffer[] = [];
  #watched = 0;
  #paused = true;
  /** Paused by the user, so that a listener of `data` does not start it. */
  #held = false;
  #readEnded = false;
  #shut = false;
  #detached = false;
  #needDrain = false;
  /** Of the last read, 8 bytes, once `stamp` was called. */
  #stamp: Buffer | undefined;

  connecting: boolean;
  destroyed = false;
  writableEnded = false;
  /** Bytes that wait to be sent. */
  writableLength = 0;

  /** @param fd a socket, which belongs to this object from now on */
  constructor(fd: number, shared: StreamShared, connecting = false) {
    super();
    this.#shared = shared;
    this.#fd = fd;
    this.connecting = connecting;
    this.#handle = shared.native.streamOpen(fd, (events) => this.#onEvent(events));
    shared.native.streamNoDelay(this.#handle);
  }

  /** Whether there is still a descriptor of this object. */
  get #open(): boolean {
    return !this.destroyed && !this.#detached;
  }

  /** The socket, to be asked only: it stays this object's. Undefined once it is closed or given away. */
  get fd(): number | undefined {
    return this.#open ? this.#fd : undefined;
  }

  get writable(): boolean {
    return !this.writableEnded && this.#open;
  }

  get writableNeedDrain(): boolean {
    return this.#needDrain;
  }

  override on(event: string | symbol, listener: Parameters<EventEmitter['on']>[1]): this {
    super.on(event, listener);
    if (event === 'data' && !this.#held && this.#paused) this.resume();
    return this;
  }

  /** Begins to connect; only for a stream that was made as connecting. */
  connect(address: string, port: number): this {
    const result = this.#shared.native.streamConnect(this.#handle, address, port);
    if (result < 0) this.destroy(streamError(`connect ${address}:${port}`, result));
    else this.#watch();
    return this;
  }

  /** Lets the kernel note when something comes. */
  stamp(): this {
    this.#stamp = Buffer.alloc(8);
    this.#shared.native.streamStamp(this.#handle);
    return this;
  }

  /** When the kernel received what `data` told last, monotonic ns; undefined when it does not say, or before `stamp`. */
  get receivedNs(): bigint | undefined {
    const ns = this.#stamp?.readBigInt64LE() ?? 0n;
    return ns > 0n ? ns : undefined;
  }

  /**
   * The kernel's round trip, us: in the listener of `connect` that from SYN to SYN-ACK, whenever the listener runs.
   * Undefined when a segment was sent twice: nobody knows which one was answered.
   */
  roundTripUs(): number | undefined {
    const result = this.#open ? this.#shared.native.streamRoundTrip(this.#handle) : 0;
    return result > 0 ? result : undefined;
  }

  isPaused(): boolean {
    return this.#held;
  }

  pause(): this {
    this.#held = true;
    this.#paused = true;
    this.#watch();
    return this;
  }

  resume(): this {
    this.#held = false;
    this.#paused = false;
    this.#watch();
    return this;
  }

  /** Small messages are never held back. */
  setNoDelay(): this {
    return this;
  }

  /** @returns false when it is better to wait for `drain` */
  write(bytes: Buffer): boolean {
    if (!this.writable || bytes.length === 0) return !this.#needDrain;
    const rest = this.connecting || this.#pending.length > 0 ? bytes : this.#send(bytes);
    if (rest === undefined) return true;
    this.#pending.push(rest);
    this.writableLength += rest.length;
    this.#needDrain ||= this.writableLength >= HIGH_WATER_BYTES;
    this.#watch();
    return !this.#needDrain;
  }

  /** @returns what the kernel does not take now; undefined: nothing is left, or the stream has failed */
  #send(bytes: Buffer): Buffer | undefined {
    const result = this.#shared.native.streamWrite(this.#handle, bytes);
    if (result === bytes.length) return undefined;
    if (result >= 0) return bytes.subarray(result);
    if (wouldWait(result)) return bytes;
    this.destroy(streamError('write', result));
    return undefined;
  }

  /** Sends the FIN behind what was written. */
  end(): this {
    if (!this.writable) return this;
    this.writableEnded = true;
    this.#finish();
    return this;
  }

  #finish(): void {
    if (!this.writableEnded || this.#shut || this.connecting || this.#pending.length > 0 || !this.#open)
      return;
    this.#shut = true;
    this.#shared.native.streamShutdown(this.#handle);
    if (this.#readEnded) this.destroy();
  }

  /** Closes at once. `close` follows, behind `error` if there is one. */
  destroy(error?: Error): this {
    return this.#close(0, error);
  }

  /** Ends the connection with a RST. */
  resetAndDestroy(): this {
    return this.#close(1);
  }

  #close(reset: 0 | 1, error?: Error): this {
    if (!this.#open) return this;
    this.destroyed = true;
    this.#pending = [];
    this.writableLength = 0;
    this.#shared.native.streamClose(this.#handle, reset);
    process.nextTick(() => {
      if (error !== undefined) this.emit('error', error);
      this.emit('close');
    });
    return this;
  }

  /** Gives the connection to a socket of Node, paused; `close` follows that one's. Nothing may wait to be sent. */
  detach(): Socket {
    const socket = new Socket({
      ...{ fd: this.#shared.native.streamDetach(this.#handle), allowHalfOpen: true },
      ...{ readable: true, writable: true },
    });
    this.#detached = true;
    socket.pause();
    socket.on('close', () => {
      this.destroyed = true;
      this.emit('close');
    });
    return socket;
  }

  #watch(): void {
    if (!this.#open) return;
    const read = this.#paused || this.#readEnded || this.connecting ? 0 : STREAM_EVENT.readable;
    const write = this.connecting || this.#pending.length > 0 ? STREAM_EVENT.writable : 0;
    if ((read | write) === this.#watched) return;
    this.#watched = read | write;
    const result = this.#shared.native.streamWatch(this.#handle, this.#watched);
    if (result < 0) this.destroy(streamError('epoll', result));
  }

  #onEvent(events: number): void {
    if ((events & STREAM_EVENT.error) !== 0) this.#onFailure();
    else {
      if ((events & STREAM_EVENT.writable) !== 0) this.#onWritable();
      if ((events & STREAM_EVENT.readable) !== 0 && this.#open && !this.#paused) this.#read();
    }
  }

  /** Nothing more is told by the kernel: what came before the error is read now, whoever wants to wait. */
  #onFailure(): void {
    this.#watched = 0;
    if (this.connecting) this.#onConnected();
    while (this.#open && !this.#readEnded && this.#read());
    if (!this.#open) return;
    const result = this.#shared.native.streamError(this.#handle);
    this.destroy(result < 0 ? streamError('read', result) : undefined);
  }

  #onWritable(): void {
    if (this.connecting && !this.#onConnected()) return;
    while (this.#pending.length > 0) {
      const [first] = this.#pending;
      const rest = first && this.#send(first);
      if (!this.#open) return;
      this.writableLength -= (first?.length ?? 0) - (rest?.length ?? 0);
      if (rest !== undefined) {
        this.#pending[0] = rest;
        break;
      }
      this.#pending.shift();
    }
    this.#watch();
    if (this.#pending.length > 0) return;
    this.#finish();
    if (!this.#needDrain || !this.#open) return;
    this.#needDrain = false;
    this.emit('drain');
  }

  /** @returns whether it is */
  #onConnected(): boolean {
    const result = this.#shared.native.streamError(this.#handle);
    if (result < 0) {
      this.destroy(streamError('connect', result));
      return false;
    }
    this.connecting = false;
    this.emit('connect');
    this.#watch();
    return this.#open;
  }

  /** Reads once. @returns whether something came */
  #read(): boolean {
    const { native, scratch } = this.#shared;
    const result =
      this.#stamp === undefined
        ? native.streamRead(this.#handle, scratch)
        : native.streamReadStamped(this.#handle, scratch, this.#stamp);
    if (result > 0) {
      const bytes = Buffer.allocUnsafe(result);
      scratch.copy(bytes, 0, 0, result);
      this.emit('data', bytes);
      return true;
    }
    if (result === 0) this.#onEnd();
    else if (!wouldWait(result)) this.destroy(streamError('read', result));
    return false;
  }

  #onEnd(): void {
    this.#readEnded = true;
    this.#watch();
    this.emit('end');
    if (this.#shut) this.destroy();
  }
}
