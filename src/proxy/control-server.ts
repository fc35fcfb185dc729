import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { listenOnUnixSocket } from '../base/unix-socket.ts';
import type { AgentToProxy, ProxyToAgent } from '../model/proxy-protocol.ts';

/** What waits for a slow agent at most; then records are lost instead. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** A policy of everything that fits a node; more is no message of ours. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;
/** The agent and the proxy run as the same user. */
const MODE = 0o600;
const LF = 0x0a;

export interface ControlDeps {
  readonly path: string;
  readonly hello: ProxyToAgent;
  readonly log: Logger;
  onMessage(message: AgentToProxy): void;
  /** The agent can take messages again: it connected, or read what was queued. */
  onReady(): void;
}

/** The proxy's end of the control channel: one agent at a time, the newest. */
export class ControlServer {
  readonly #deps: ControlDeps;
  readonly #server: Server;
  #agent: Socket | undefined;

  constructor(deps: ControlDeps) {
    this.#deps = deps;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** @throws SystemError, NotPermittedError of {@link listenOnUnixSocket} */
  async start(): Promise<void> {
    await listenOnUnixSocket(this.#server, { path: this.#deps.path, groups: [] });
    chmodSync(this.#deps.path, MODE);
  }

  async stop(): Promise<void> {
    this.#agent?.destroy();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#deps.path, { force: true });
  }

  /** @returns false when nobody is there, or too much waits already; the message was not taken then */
  send(message: ProxyToAgent): boolean {
    return this.sendText(() => JSON.stringify(message));
  }

  /** The same for a message that is written, as JSON, only when it can be sent. */
  sendText(json: () => string): boolean {
    const agent = this.#agent;
    if (agent === undefined || !agent.writable || agent.writableLength > MAX_QUEUED_BYTES) return false;
    agent.write(`${json()}\n`);
    return true;
  }

  #accept(socket: Socket): void {
    const former = this.#agent;
    this.#agent = socket;
    former?.destroy();
    const lines = new LineReader(MAX_MESSAGE_BYTES, (line) => this.#onLine(socket, line));
    socket.on('data', (chunk: Buffer) => {
      if (!lines.take(chunk)) this.#refuse(socket, 'message too long');
    });
    socket.on('drain', () => this.#deps.onReady());
    socket.on('error', (error) => this.#deps.log.debug({ error: errorText(error) }, 'agent connection'));
    socket.on('close', () => {
      if (this.#agent === socket) this.#agent = undefined;
    });
    this.send(this.#deps.hello);
    this.#deps.onReady();
  }

  #onLine(socket: Socket, line: string): void {
    if (socket !== this.#agent) return;
    try {
      // The peer is the agent: the socket is ours alone.
      const message: AgentToProxy = JSON.parse(line);
      this.#deps.onMessage(message);
    } catch (error) {
      this.#refuse(socket, errorText(error));
    }
  }

  #refuse(socket: Socket, reason: string): void {
    this.#deps.log.error({ reason }, 'message of the agent refused');
    socket.destroy();
  }
}

/** Cuts a stream into lines. */
class LineReader {
  readonly #maxBytes: number;
  readonly #onLine: (line: string) => void;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number, onLine: (line: string) => void) {
    this.#maxBytes = maxBytes;
    this.#onLine = onLine;
  }

  /** @returns false when a line is too long */
  take(chunk: Buffer): boolean {
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      this.#parts.push(chunk.subarray(from, end));
      const line = Buffer.concat(this.#parts).toString();
      this.#parts = [];
      this.#bytes = 0;
      from = end + 1;
      this.#onLine(line);
    }
    this.#parts.push(chunk.subarray(from));
    this.#bytes += chunk.length - from;
    return this.#bytes <= this.#maxBytes;
  }
}
