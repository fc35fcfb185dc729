import { JudgedFlow } from './judged-flow.ts';
import type { ProxyHost } from './part.ts';
import { reset } from './reset.ts';
import type { Accepted } from './tcp-acceptor.ts';
import type { ByteSocket } from './types.ts';

const REQUEST_TIMEOUT_NS = 30e9;
const CONNECT_TIMEOUT_NS = 5e9;
const IDLE_TIMEOUT_NS = 3600e9;

/** Who understands what passes. */
export interface Speaker {
  /** What the protocol calls its server, for reasons in the log. */
  readonly serverName: string;
  /** A request of the client has begun and is not whole. */
  readonly begun: boolean;
  fromClient(chunk: Buffer): void;
  fromServer(chunk: Buffer): void;
  /** There is room again, or the client has ended: take from it, or end. */
  settle(): void;
  /** There is no connection to the server: say why, and end. */
  fail(reason: string): void;
}

/**
 * One client connection and the one to its server, which is opened when it is first needed. Nothing is read from one side
 * that the other does not take; once it is over, nothing of either is.
 */
export class ServedConnection {
  readonly client: ByteSocket;
  readonly flow: JudgedFlow;
  readonly #host: ProxyHost;
  readonly #speaker: Speaker;
  #upstream: ByteSocket | undefined;
  #connected = false;
  #clientEnded = false;
  #over = false;
  #activeNs: number;
  #dialedNs = 0;

  constructor(accepted: Accepted, host: ProxyHost, speaker: Speaker) {
    const { socket } = accepted;
    this.#host = host;
    this.#speaker = speaker;
    this.client = socket;
    this.flow = new JudgedFlow(host, accepted);
    this.#activeNs = host.clock.monotonicNs();
    socket.on('data', (chunk: Buffer) => this.#onData(() => speaker.fromClient(chunk)));
    socket.on('drain', () => {
      this.#upstream?.resume();
      this.#settle();
    });
    socket.on('end', () => {
      this.#clientEnded = true;
      this.#settle();
    });
    // 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#upstream?.destroy());
  }

  get clientEnded(): boolean {
    return this.#clientEnded;
  }

  /** It was ended here: nothing is to be judged or passed any more. */
  get isOver(): boolean {
    return this.#over;
  }

  /** One of the sides does not take what the other sends. */
  get isFull(): boolean {
    return this.client.writableNeedDrain || this.#upstream?.writableNeedDrain === true;
  }

  #onData(take: () => void): void {
    if (this.#over) return;
    this.#activeNs = this.#host.clock.monotonicNs();
    take();
    if (this.client.writableNeedDrain) this.#upstream?.pause();
    this.#settle();
  }

  #settle(): void {
    if (!this.#over) this.#speaker.settle();
  }

  toServer(bytes: Buffer): void {
    if (!this.#over) this.#connect().write(bytes);
  }

  toClient(bytes: Buffer): void {
    if (!this.#over) this.client.write(bytes);
  }

  #connect(): ByteSocket {
    if (this.#upstream !== undefined) return this.#upstream;
    const upstream = this.#host.dial(this.flow.client, this.flow.server);
    this.#upstream = upstream;
    this.#dialedNs = this.#host.clock.monotonicNs();
    upstream.on('connect', () => {
      this.#connected = true;
      upstream.setNoDelay(true);
    });
    upstream.on('data', (chunk: Buffer) => this.#onData(() => this.#speaker.fromServer(chunk)));
    upstream.on('drain', () => this.#settle());
    upstream.on('end', () => this.client.end());
    upstream.on('error', (error) => {
      if (!this.#connected && !this.#over)
        this.#speaker.fail(`${this.#speaker.serverName}: ${error.message}`);
    });
    upstream.on('close', () => {
      if (!this.client.writableEnded) reset(this.client);
    });
    return upstream;
  }

  /** The client has ended, and all that it sent is passed on: tells the server, or ends it where there is none. */
  passEnd(): void {
    if (this.#upstream !== undefined) this.#upstream.end();
    else this.client.end();
  }

  /** Lets what is written to the client go out, and ends both connections. */
  finish(): void {
    this.#over = true;
    this.#upstream?.destroy();
    // What still comes is thrown away, lest a reset overtake the answer.
    this.client.resume();
    this.client.end(() => this.client.destroy());
  }

  /** Ends it if it waits too long for something. */
  check(nowNs: number): void {
    const { serverName, begun } = this.#speaker;
    const connecting = this.#upstream !== undefined && !this.#connected;
    const idle = nowNs - this.#activeNs;
    if (connecting && !this.#over && nowNs - this.#dialedNs > CONNECT_TIMEOUT_NS)
      this.#speaker.fail(`the ${serverName} did not accept in time`);
    else if (idle > (begun ? REQUEST_TIMEOUT_NS : IDLE_TIMEOUT_NS)) this.destroy();
  }

  destroy(): void {
    this.#over = true;
    this.client.destroy();
    this.#upstream?.destroy();
  }
}
