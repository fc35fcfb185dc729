import type { Sockets } from '../../src/base/sockets/index.ts';
import type { Streams, TcpStream } from '../../src/base/sockets/streams.ts';
import type { Handshakes, ProbeResult } from '../types.ts';
import { type AnswerProgress, AnswerReader } from './answer.ts';
import { HEALTH_PORT, HELLO_PATH } from './constants.ts';
import { connectionFailure } from './failure.ts';

/** How one request is made. */
export interface ExchangeOptions {
  /** Host order. */
  readonly port?: number | undefined;
  readonly path?: string | undefined;
  /** Addresses to connect from, in text form, at most one a family. */
  readonly sources?: readonly string[] | undefined;
  /** Path of the network namespace to connect from; undefined: the process's own. */
  readonly netns?: string | undefined;
  /** 0 to 63, of what is sent. Default 0. */
  readonly dscp?: number | undefined;
  /** Whoever notes handshakes where they leave; undefined: the kernel's own time is taken. */
  readonly handshakes?: Handshakes | undefined;
}

export interface ExchangeDeps {
  readonly sockets: Pick<Sockets, 'openSocket'>;
  readonly streams: Pick<Streams, 'connect'>;
}

/**
 * One connection with its request, its answer and the times between. The kernel's times are told apart from ours:
 *
 * - `network`: from SYN to SYN-ACK, at the device if programs stand there, else by the kernel's stack; none where the
 *   SYN was sent twice: nobody knows which one was answered.
 * - `connect`: from the call until this process knew of the connection.
 * - `firstByte`: from the request until the kernel had the first of the answer: the network once more, and the server.
 * - `client`: what this process took of the whole: a busy event loop is here, and nowhere else.
 * - `total`: from the call until this process had the whole answer.
 *
 * The latency is `total` without `client` where the kernel tells its times.
 */
export class Exchange {
  readonly #address: string;
  readonly #options: ExchangeOptions;
  readonly #done: (result: ProbeResult) => void;
  readonly #reader = new AnswerReader();
  #stream: TcpStream | undefined;
  #ended = false;
  #startNs = 0n;
  #connectedNs: bigint | undefined;
  #writtenNs = 0n;
  #networkNs: number | undefined;
  #firstByteNs: bigint | undefined;
  #lastByteNs: bigint | undefined;
  #kernelStamps = true;

  constructor(address: string, options: ExchangeOptions, done: (result: ProbeResult) => void) {
    this.#address = address;
    this.#options = options;
    this.#done = done;
  }

  start({ sockets, streams }: ExchangeDeps): void {
    const { port = HEALTH_PORT, sources = [], netns, dscp = 0, handshakes } = this.#options;
    const isV6 = this.#address.includes(':');
    const source = sources.find((one) => one.includes(':') === isV6);
    let fd: number;
    try {
      const bind = source === undefined ? undefined : { address: source, port: 0 };
      const mark = handshakes?.handshakeMark;
      const how = { type: 'stream', netns, mark, trafficClass: dscp << 2, bind } as const;
      fd = sockets.openSocket({ family: isV6 ? 6 : 4, ...how, reuseAddress: false });
    } catch (error) {
      this.end({ kind: 'failure', failure: connectionFailure(error) });
      return;
    }
    this.#startNs = process.hrtime.bigint();
    const stream = streams.connect(fd, { address: this.#address, port });
    this.#stream = stream;
    stream.on('error', (error) => this.end({ kind: 'failure', failure: connectionFailure(error) }));
    if (stream.destroyed) return;
    stream.stamp();
    stream.on('connect', () => this.#connected(stream));
    stream.on('data', (chunk: Buffer) => this.#read(stream, chunk));
    stream.on('end', () => this.#received(this.#reader.end()));
    stream.on('close', () => this.#received(this.#reader.end()));
  }

  #connected(stream: TcpStream): void {
    this.#connectedNs = process.hrtime.bigint();
    this.#networkNs = this.#handshakeNs(stream);
    const { port = HEALTH_PORT, path = HELLO_PATH } = this.#options;
    const host = this.#address.includes(':') ? `[${this.#address}]` : this.#address;
    const head = `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nUser-Agent: ciliate-health\r\n`;
    const request = Buffer.from(`${head}Connection: close\r\n\r\n`, 'latin1');
    this.#writtenNs = process.hrtime.bigint();
    stream.write(request);
  }

  #handshakeNs(stream: TcpStream): number | undefined {
    const us = stream.roundTripUs();
    if (us === undefined || stream.fd === undefined) return undefined;
    return this.#options.handshakes?.handshakeNs(stream.fd) ?? us * 1000;
  }

  #read(stream: TcpStream, chunk: Buffer): void {
    const nowNs = process.hrtime.bigint();
    const stampNs = stream.receivedNs;
    // Of a clock that was set meanwhile, or of none.
    const isPlausible = stampNs !== undefined && stampNs >= this.#writtenNs && stampNs <= nowNs;
    if (!isPlausible) this.#kernelStamps = false;
    this.#lastByteNs = isPlausible ? stampNs : nowNs;
    this.#firstByteNs ??= this.#lastByteNs;
    this.#received(this.#reader.push(chunk));
  }

  #received(progress: AnswerProgress): void {
    if (this.#ended) return;
    if (progress.kind === 'bad') {
      this.end({ kind: 'failure', failure: { kind: 'bad-answer', text: progress.text } });
    } else if (progress.kind === 'complete') {
      this.end(progress.status === 200 ? this.#reply() : badStatus(progress.status));
    }
  }

  #reply(): ProbeResult {
    const total = Number(process.hrtime.bigint() - this.#startNs);
    const connect = Number((this.#connectedNs ?? this.#startNs) - this.#startNs);
    const firstByte = Number((this.#firstByteNs ?? this.#writtenNs) - this.#writtenNs);
    const answer = Number((this.#lastByteNs ?? this.#writtenNs) - this.#writtenNs);
    const network = this.#networkNs;
    // The kernel's own time is rounded up to the microsecond: never more than there was.
    const latencyNs =
      network === undefined || !this.#kernelStamps ? total : Math.min(total, network + answer);
    const phases = { connect, firstByte, client: total - latencyNs, total };
    return { kind: 'reply', latencyNs, phases: network === undefined ? phases : { network, ...phases } };
  }

  timeOut(timeoutMs: number): void {
    const what = this.#connectedNs === undefined ? 'no connection' : 'connected, but no answer';
    this.end({ kind: 'failure', failure: { kind: 'timeout', text: `${what} within ${timeoutMs} ms` } });
  }

  end(result: ProbeResult): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream?.destroy();
    this.#done(result);
  }
}

function badStatus(status: number): ProbeResult {
  return { kind: 'failure', failure: { kind: 'bad-answer', text: `HTTP status ${status}` } };
}
