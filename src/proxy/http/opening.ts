import type { ByteStream } from '../types.ts';

/** What a client that speaks HTTP/2 from its first byte begins with, RFC 9113 §3.4. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Takes the connection over, with what was read of it. */
export type Opened = (kind: 'http1' | 'http2', bytes: Buffer) => void;

/** A connection whose first bytes are awaited: they tell which HTTP it is. */
export class Opening {
  readonly #socket: ByteStream;
  readonly #limits: { readonly headTimeoutMs: number; readonly openingTimeoutMs: number };
  readonly #opened: Opened;
  readonly #sinceNs: number;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(
    socket: ByteStream,
    limits: { readonly headTimeoutMs: number; readonly openingTimeoutMs: number },
    nowNs: number,
    opened: Opened,
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#opened = opened;
    this.#sinceNs = nowNs;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const length = Math.min(this.#bytes.length, PREFACE.length);
    const same = this.#bytes.compare(PREFACE, 0, length, 0, length) === 0;
    if (same && length < PREFACE.length) return;
    this.#hand(same ? 'http2' : 'http1');
  };

  /** Too little for a preface: the beginning of a request that never ends. */
  readonly #onEnd = (): void => {
    this.#socket.end();
  };

  /** 'close' follows. */
  readonly #onError = (): void => undefined;

  #hand(kind: 'http1' | 'http2'): void {
    this.#socket.off('data', this.#onData);
    this.#socket.off('end', this.#onEnd);
    this.#opened(kind, this.#bytes);
    this.#socket.off('error', this.#onError);
  }

  /** Ends what waits too long. */
  check(nowNs: number): void {
    const limitMs = this.#bytes.length > 0 ? this.#limits.headTimeoutMs : this.#limits.openingTimeoutMs;
    if (nowNs - this.#sinceNs > limitMs * 1e6) this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
