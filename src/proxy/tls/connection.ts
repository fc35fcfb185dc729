import type { AccessLogRecord } from '../../model/l7.ts';
import { JudgedFlow, type Verdict } from '../judged-flow.ts';
import type { ProxyHost } from '../part.ts';
import { reset } from '../reset.ts';
import type { Accepted, Held } from '../tcp-acceptor.ts';
import type { ByteSocket } from '../types.ts';
import { ClientHelloReader, type HelloReading } from './client-hello.ts';
import type { TlsJudge } from './judge.ts';
import { RetryWatch, type Watched } from './retry-watch.ts';

const HELLO_TIMEOUT_NS = 10e9;
const CONNECT_TIMEOUT_NS = 5e9;
const IDLE_TIMEOUT_NS = 3600e9;

interface ConnectionDeps {
  readonly host: ProxyHost;
  readonly judge: TlsJudge;
}

/**
 * One connection whose client names its server in TLS, and the one to that server.
 *
 * 1. If a rule without names allows it, bytes pass from the beginning on, whatever they are: the server may speak first.
 * 2. Else the client's hello is awaited and judged; its bytes go on only with the connection that is allowed.
 * 3. If the server asks for another hello, that one is awaited and judged too.
 * 4. From there both sides' bytes pass unread, each as fast as the other takes them.
 * 5. Before bytes pass, and every second, it is judged again if policy or ends are others: it ends when it may no more.
 */
export class TlsConnection implements Held {
  readonly #host: ProxyHost;
  readonly #judge: TlsJudge;
  readonly #flow: JudgedFlow;
  readonly #client: ByteSocket;
  #hello: ClientHelloReader | undefined = new ClientHelloReader();
  #serverName: string | undefined;
  /** Undefined when there is nothing to be looked for any more. */
  #retry: RetryWatch | undefined;
  #upstream: ByteSocket | undefined;
  #connected = false;
  #clientEnded = false;
  #activeNs: number;
  readonly #sinceNs: number;
  #dialedNs = 0;

  constructor(accepted: Accepted, { host, judge }: ConnectionDeps) {
    const { socket } = accepted;
    this.#host = host;
    this.#judge = judge;
    this.#client = socket;
    this.#flow = new JudgedFlow(host, accepted);
    this.#sinceNs = host.clock.monotonicNs();
    this.#activeNs = this.#sinceNs;
    socket.on('data', (chunk: Buffer) => this.#onClientData(chunk));
    socket.on('drain', () => this.#upstream?.resume());
    socket.on('end', () => this.#onClientEnd());
    // 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#onClientClose());
    const open = this.#verdict();
    if (open.allowed) this.#begin(open);
  }

  #verdict(isIdle = false): Verdict {
    const judge = this.#judge;
    return this.#flow.judge((views, fallback) => judge.judge(views, this.#serverName, fallback), isIdle);
  }

  /** Whether bytes may pass still; ends the connection otherwise. */
  #mayGoOn(isIdle = false): boolean {
    if (this.#flow.isAsJudged(isIdle)) return true;
    const verdict = this.#verdict(isIdle);
    if (!verdict.allowed) this.#refuse(verdict);
    return verdict.allowed;
  }

  #onClientData(chunk: Buffer): void {
    this.#activeNs = this.#host.clock.monotonicNs();
    if (this.#hello !== undefined) this.#onHello(this.#hello.take(chunk));
    else if (this.#upstream?.writable === true && this.#mayGoOn()) {
      if (this.#retry === undefined) this.#pass(chunk);
      else this.#onWatched(this.#retry.fromClient(chunk));
    }
  }

  #onWatched(watched: Watched): void {
    if (watched.kind === 'wait') {
      if (this.#retry?.awaitsServer === true) this.#client.pause();
      else if (this.#clientEnded) this.#endedAmid();
      else this.#client.resume();
      return;
    }
    this.#retry = undefined;
    if (watched.kind === 'judge' && !this.#mayRetry(watched.reading)) return;
    this.#client.resume();
    if (watched.bytes.length > 0) this.#pass(watched.bytes);
    if (this.#clientEnded) this.#upstream?.end();
  }

  /** Whether the connection may go on with the second hello; ends it otherwise. */
  #mayRetry(reading: HelloReading): boolean {
    const serverName = reading.kind === 'hello' ? reading.serverName : undefined;
    const isSame = reading.kind === 'hello' && serverName === this.#serverName;
    this.#serverName = serverName;
    const verdict = this.#verdict();
    if (!verdict.allowed)
      this.#refuse(reading.kind === 'bad' ? { ...verdict, reason: reading.reason } : verdict);
    else if (!isSame) this.#record(verdict, 'forwarded');
    return verdict.allowed;
  }

  #onHello(reading: HelloReading): void {
    if (reading.kind === 'more') return;
    if (reading.kind === 'hello') {
      this.#serverName = reading.serverName;
      this.#retry = new RetryWatch();
    }
    const verdict = this.#verdict();
    if (verdict.allowed) this.#begin(verdict);
    else this.#refuse(reading.kind === 'bad' ? { ...verdict, reason: reading.reason } : verdict);
  }

  /** Opens the way to the server; what was read of the client goes first. */
  #begin(verdict: Verdict): void {
    this.#record(verdict, 'forwarded');
    const hello = this.#hello;
    this.#hello = undefined;
    const upstream = this.#host.dial(this.#flow.client, this.#flow.server);
    this.#upstream = upstream;
    this.#dialedNs = this.#host.clock.monotonicNs();
    upstream.on('connect', () => {
      this.#connected = true;
      upstream.setNoDelay(true);
    });
    upstream.on('data', (chunk: Buffer) => this.#onServerData(chunk));
    upstream.on('drain', () => this.#client.resume());
    upstream.on('end', () => {
      if (this.#client.writable) this.#client.end();
    });
    upstream.on('error', (error) => {
      if (!this.#connected) this.#unreachable(error.message);
    });
    upstream.on('close', () => {
      if (!this.#client.writableEnded) reset(this.#client);
    });
    if (hello !== undefined && !hello.isEmpty) this.#passHello(hello);
    if (this.#clientEnded && this.#retry === undefined) upstream.end();
  }

  #passHello({ bytes, rest }: ClientHelloReader): void {
    if (bytes.length > 0) this.#pass(bytes);
    if (this.#retry !== undefined) this.#onWatched(this.#retry.fromClient(rest));
    else if (rest.length > 0) this.#pass(rest);
  }

  #pass(bytes: Buffer): void {
    if (this.#upstream?.write(bytes) === false) this.#client.pause();
  }

  #onServerData(chunk: Buffer): void {
    this.#activeNs = this.#host.clock.monotonicNs();
    if (!this.#client.writable || !this.#mayGoOn()) return;
    if (!this.#client.write(chunk)) this.#upstream?.pause();
    if (this.#retry !== undefined) this.#onWatched(this.#retry.fromServer(chunk));
  }

  #onClientEnd(): void {
    this.#clientEnded = true;
    if (this.#upstream !== undefined) {
      if (this.#retry === undefined) this.#upstream.end();
      else if (!this.#retry.awaitsServer) this.#endedAmid();
    } else if (this.#hello?.isEmpty === true) this.#client.end();
    else this.#endedAmid();
  }

  #endedAmid(): void {
    this.#refuse({ ...this.#verdict(), allowed: false, reason: 'the client ended amid its hello' });
  }

  /** A client that went away without an end takes its server's connection with it by a reset. */
  #onClientClose(): void {
    const upstream = this.#upstream;
    if (upstream === undefined || upstream.destroyed) return;
    if (this.#connected && !this.#clientEnded) reset(upstream);
    else upstream.destroy();
  }

  #record(verdict: Verdict, kind: AccessLogRecord['verdict']): void {
    this.#flow.record(verdict, kind, { kind: 'tls', serverName: this.#serverName ?? '' });
  }

  #refuse(verdict: Verdict): void {
    this.#record(verdict, 'denied');
    this.#resetBoth();
  }

  #unreachable(reason: string): void {
    this.#record(this.#flow.denied(`server: ${reason}`), 'error');
    this.#resetBoth();
  }

  #resetBoth(): void {
    if (!this.#client.destroyed) reset(this.#client);
    const upstream = this.#upstream;
    if (upstream === undefined || upstream.destroyed) return;
    if (this.#connected) reset(upstream);
    else upstream.destroy();
  }

  check(nowNs: number): void {
    if (this.#hello !== undefined) {
      if (nowNs - this.#sinceNs > HELLO_TIMEOUT_NS)
        this.#refuse({ ...this.#verdict(), allowed: false, reason: 'no hello in time' });
    } else if (!this.#connected && nowNs - this.#dialedNs > CONNECT_TIMEOUT_NS)
      this.#unreachable('it did not accept in time');
    else if (nowNs - this.#activeNs > IDLE_TIMEOUT_NS) this.destroy();
    else if (!this.#client.destroyed) this.#mayGoOn(true);
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream?.destroy();
  }
}
