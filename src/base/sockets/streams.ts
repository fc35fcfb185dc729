import type { Socket } from 'node:net';
import { loadAddon } from '../assets.ts';
import { type DialOptions, failedDial, openDialSocket } from './dial.ts';
import {
  STREAM_EVENT,
  type StreamHandle,
  type StreamNative,
  streamError,
  wouldWait,
} from './stream-native.ts';
import { type StreamShared, TcpStream } from './tcp-stream.ts';
import type { Sockets } from './types.ts';

export { TcpStream } from './tcp-stream.ts';

const SCRATCH_BYTES = 65_536;
/** Connections taken a turn of the event loop. */
const ACCEPT_AT_ONCE = 64;
/** After an accept that failed. */
const PAUSE_MS = 100;

export interface StreamEnd {
  readonly address: string;
  readonly port: number;
}

/** A connection that came to a listener. */
export interface AcceptedStream {
  readonly stream: TcpStream;
  readonly peer: StreamEnd;
  readonly own: StreamEnd;
}

export interface StreamListener {
  /** Closes the listening socket; connections stay. May be called twice. */
  close(): void;
}

export interface ListenHandlers {
  onConnection(accepted: AcceptedStream): void;
  /** Asked before each; false: it is closed at once. */
  accepts(): boolean;
  onError(error: Error): void;
}

/** Makes {@link TcpStream}s. */
export class Streams {
  readonly #shared: StreamShared;

  /** @throws SystemError code ADDON_MISSING */
  constructor() {
    this.#shared = {
      native: loadAddon<StreamNative>('sockets.node'),
      scratch: Buffer.allocUnsafeSlow(SCRATCH_BYTES),
    };
  }

  /** Accepts on a listening socket, which belongs to the listener from now on. @throws Error for what is none */
  listen(fd: number, handlers: ListenHandlers): StreamListener {
    return new Listener(fd, handlers, this.#shared);
  }

  /** Begins to connect a socket, which belongs to the stream from now on. It says `connect` or `error`. */
  connect(fd: number, { address, port }: StreamEnd): TcpStream {
    return new TcpStream(fd, this.#shared, true).connect(address, port);
  }

  /** As {@link dialFrom}, by a stream of this kind; a socket of Node's where none can be made. */
  dialFrom(sockets: Pick<Sockets, 'openSocket'>, options: DialOptions): TcpStream | Socket {
    const { address, port } = options.to;
    try {
      return new TcpStream(openDialSocket(sockets, options), this.#shared, true).connect(address, port);
    } catch (error) {
      return failedDial(error);
    }
  }
}

class Listener implements StreamListener {
  readonly #handlers: ListenHandlers;
  readonly #shared: StreamShared;
  readonly #handle: StreamHandle;
  #pause: NodeJS.Timeout | undefined;
  #open = true;

  constructor(fd: number, handlers: ListenHandlers, shared: StreamShared) {
    this.#handlers = handlers;
    this.#shared = shared;
    this.#handle = shared.native.streamOpen(fd, () => this.#onReadable());
    this.#watch(STREAM_EVENT.readable);
  }

  #watch(events: number): void {
    const result = this.#shared.native.streamWatch(this.#handle, events);
    if (result < 0) throw streamError('epoll', result);
  }

  #onReadable(): void {
    for (let count = 0; this.#open && count < ACCEPT_AT_ONCE; count++) {
      const result = this.#shared.native.streamAccept(this.#handle);
      if (typeof result !== 'number') this.#onAccepted(result);
      else {
        if (!wouldWait(result)) this.#onFailure(result);
        return;
      }
    }
  }

  /** Without descriptors the next try would fail at once, too: a pause. */
  #onFailure(result: number): void {
    this.#handlers.onError(streamError('accept', result));
    if (!this.#open) return;
    this.#watch(0);
    this.#pause = setTimeout(() => this.#watch(STREAM_EVENT.readable), PAUSE_MS);
  }

  #onAccepted([fd, peer, peerPort, own, ownPort]: readonly [number, string, number, string, number]): void {
    const stream = new TcpStream(fd, this.#shared);
    if (peer === '' || own === '' || !this.#handlers.accepts()) stream.destroy();
    else
      this.#handlers.onConnection({
        stream,
        peer: { address: peer, port: peerPort },
        own: { address: own, port: ownPort },
      });
  }

  close(): void {
    clearTimeout(this.#pause);
    this.#open = false;
    this.#shared.native.streamClose(this.#handle, 0);
  }
}
