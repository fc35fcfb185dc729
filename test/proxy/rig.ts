import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, silentLog } from '../../src/base/log.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { Streams } from '../../src/base/sockets/streams.ts';
import type { AccessLogRecord, HttpRule, L7Filter, L7Kind, L7Policy } from '../../src/model/l7.ts';
import type { ProxyEndpoint, ProxyToAgent } from '../../src/model/proxy-protocol.ts';
import { createProxy, type FlowIdentities, type HttpLimits, type L7Proxy } from '../../src/proxy/index.ts';

export const CLIENT = 100;
export const SERVER = 200;
const PORT = 18_080;

/** A rule with the parts named; the others match everything. */
export function httpRule(parts: Partial<HttpRule> = {}): HttpRule {
  return { path: undefined, method: undefined, host: undefined, headers: [], headerMatches: [], ...parts };
}

/** A filter for everybody and every port. */
export function httpFilter(rules: readonly HttpRule[] | undefined, parts: Partial<L7Filter> = {}): L7Filter {
  return {
    ...{ protocol: 6, firstPort: 0, lastPort: 65_535, peers: undefined, ruleId: 1, ruleName: 'default/rule' },
    l7: rules && { kind: 'http', rules },
    ...parts,
  };
}

export function ingressPolicy(filters: readonly L7Filter[], revision = 1): L7Policy {
  return { revision, subjects: [{ subject: SERVER, ingress: filters, egress: undefined }] };
}

/** Resolves when the condition holds; rejects after a while. */
export async function until(what: string, holds: () => boolean, limitMs = 5000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A TCP server that keeps every byte it gets, by connection, and answers as told. */
export class RecordingServer {
  readonly connections: { readonly socket: Socket; text: string; ended: boolean; closed: boolean }[] = [];
  /** Called with each connection's text so far whenever bytes come. */
  answer: (socket: Socket, text: string, place: number) => void = answerEach;
  readonly #server: Server;
  port = 0;

  constructor() {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  #accept(socket: Socket): void {
    const connection = { socket, text: '', ended: false, closed: false };
    const place = this.connections.push(connection) - 1;
    socket.on('data', (chunk: Buffer) => {
      connection.text += chunk.toString('latin1');
      this.answer(socket, connection.text, place);
    });
    socket.on('end', () => {
      connection.ended = true;
      socket.end();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connection.closed = true;
    });
  }

  /** All bytes of all connections. */
  get text(): string {
    return this.connections.map(({ text }) => text).join('');
  }

  forget(): void {
    for (const { socket } of this.connections.splice(0)) socket.destroy();
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.port = address.port;
  }

  async close(): Promise<void> {
    this.forget();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

const HEAD_END = '\r\n\r\n';

/** Answers once for each head that came (bodies must not look like heads). */
function answerEach(socket: Socket, text: string): void {
  const known = answered.get(socket) ?? 0;
  const heads = text.split(HEAD_END).length - 1;
  answered.set(socket, heads);
  for (let i = known; i < heads; i++) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
}
const answered = new WeakMap<Socket, number>();

export interface RigOptions {
  readonly http?: Partial<HttpLimits>;
  readonly log?: Logger;
  readonly identities?: () => FlowIdentities | undefined;
  readonly dialPort?: () => number;
  readonly dial?: () => Socket;
  readonly endpoints?: readonly ProxyEndpoint[];
  readonly maxConnections?: number;
  /** Default http. */
  readonly kind?: L7Kind;
}

let rigs = 0;

/** A proxy on a loopback address of its own, before a recording server. */
export class Rig {
  readonly server = new RecordingServer();
  readonly records: AccessLogRecord[] = [];
  readonly address = Rig.addressAt(++rigs);
  readonly folder = mkdtempSync(join(tmpdir(), 'ciliate-proxy-'));
  readonly #proxy: L7Proxy;
  readonly #options: RigOptions;
  #sequence = 0;
  #agent: Socket | undefined;
  readonly messages: ProxyToAgent[] = [];

  /** Address of this process's nth rig. */
  static addressAt(place: number): string {
    return `127.${64 + (process.pid % 128)}.${(process.pid >> 7) % 250}.${place}`;
  }

  constructor(options: RigOptions = {}) {
    this.#options = options;
    const fd = loadSockets().openSocket({
      family: 4,
      type: 'stream',
      bind: { address: this.address, port: PORT },
      listen: 128,
    });
    this.#proxy = createProxy(
      {
        socketPath: this.socketPath,
        version: 'test',
        listeners: [{ name: `${options.kind ?? 'http'}-ingress`, transport: 'tcp4', fd }],
        http: options.http,
        maxConnections: options.maxConnections,
      },
      {
        flowOf: () => (options.identities ?? (() => ({ client: CLIENT, server: SERVER })))(),
        dial: () =>
          options.dial?.() ?? connect({ host: '127.0.0.1', port: this.#dialPort(), allowHalfOpen: true }),
        dialStream: () =>
          options.dial?.() ??
          new Streams().dialFrom(loadSockets(), {
            ...{ from: undefined, to: { address: '127.0.0.1', port: this.#dialPort() }, mark: 0 },
          }),
        log: options.log ?? silentLog,
        record: (record) => this.records.push(record),
      },
    );
  }

  #dialPort(): number {
    return this.#options.dialPort?.() ?? this.server.port;
  }

  get socketPath(): string {
    return join(this.folder, 'proxy.sock');
  }

  async start(policy?: L7Policy): Promise<this> {
    await this.server.listen();
    await this.#proxy.start();
    if (policy !== undefined) await this.apply(policy);
    return this;
  }

  /** Connects as the agent does. */
  async connectAgent(): Promise<Socket> {
    const agent = connect(this.socketPath);
    let text = '';
    agent.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) this.messages.push(JSON.parse(line));
    });
    agent.on('error', () => undefined);
    await new Promise<void>((resolve, reject) => agent.once('connect', resolve).once('error', reject));
    this.#agent = agent;
    return agent;
  }

  /** Sends a policy and waits until it is in force. */
  async apply(policy: L7Policy): Promise<void> {
    const agent = this.#agent ?? (await this.connectAgent());
    const sequence = ++this.#sequence;
    const endpoints = this.#options.endpoints ?? [
      { endpoint: 7, identity: SERVER, addresses: [this.address] },
    ];
    agent.write(`${JSON.stringify({ type: 'policy', sequence, policy, endpoints })}\n`);
    await until('policy applied', () =>
      this.messages.some((message) => message.type === 'policy-applied' && message.sequence === sequence),
    );
  }

  /** A raw client connection through the proxy. */
  async client(): Promise<RawClient> {
    const socket = connect({ host: this.address, port: PORT, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawClient(socket);
  }

  async stop(): Promise<void> {
    this.#agent?.destroy();
    await this.#proxy.stop();
    await this.server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** A socket that keeps what comes. */
export class RawClient {
  readonly socket: Socket;
  text = '';
  ended = false;
  closed = false;
  error: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  send(text: string | Buffer): this {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
    return this;
  }

  /** Status codes of the answers so far. */
  get statuses(): number[] {
    return [...this.text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status));
  }

  async answers(count: number): Promise<number[]> {
    await until(
      `${count} answers, got ${JSON.stringify(this.text.slice(0, 500))}`,
      () => this.statuses.length >= count,
    );
    return this.statuses;
  }

  async end(): Promise<void> {
    await until(`the end, got ${JSON.stringify(this.text.slice(0, 500))}`, () => this.ended || this.closed);
  }

  destroy(): void {
    this.socket.destroy();
  }
}
