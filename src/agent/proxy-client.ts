import { connect, type Socket } from 'node:net';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AccessLogRecord, L7Policy } from '../model/l7.ts';
import type { ProxyCounters } from '../model/proxy-counters.ts';
import type { AgentToProxy, DnsObservation, ProxyEndpoint, ProxyToAgent } from '../model/proxy-protocol.ts';

export interface ProxyClientDeps {
  readonly log: Logger;
  /** Which process answers, and what code it runs. */
  readonly onHello?: ((pid: number, version: string) => void) | undefined;
  readonly onRecords: (records: readonly AccessLogRecord[]) => void;
  /** Log records that the proxy had to throw away. */
  readonly onLost: (records: number) => void;
  /** What the process that answers counted since it began. */
  readonly onCounters: (counters: ProxyCounters) => void;
  /** To be answered by `dnsApplied` once its addresses are known to the datapath. */
  readonly onObservation: (id: number, observation: DnsObservation) => void;
}

interface Pushed {
  readonly policy: L7Policy;
  readonly endpoints: readonly ProxyEndpoint[];
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2_000;
/** Longest line that is read: a batch of log records. */
const LONGEST_LINE = 16 * 1024 * 1024;

/**
 * The agent's end of the proxy's socket. It connects again whenever the connection ends, and sends the newest policy
 * first then. At most one policy is under way: those that come meanwhile are sent as one, the newest.
 */
export class ProxyClient {
  readonly #path: string;
  readonly #deps: ProxyClientDeps;
  #socket: Socket | undefined;
  #connected = false;
  #silentSince = 0;
  #stopped = true;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #rest = '';
  #sequence = 0;
  #newest: Pushed | undefined;
  /** What is sent and not yet acknowledged. */
  #underWay: Pushed | undefined;
  /** Until which policy is in force there. */
  #waiters: { readonly pushed: Pushed; readonly resolve: () => void }[] = [];

  constructor(path: string, deps: ProxyClientDeps) {
    this.#path = path;
    this.#deps = deps;
  }

  /** Milliseconds for which there is no connection; 0 while there is one. */
  get silentMs(): number {
    return this.#connected ? 0 : performance.now() - this.#silentSince;
  }

  /** Revision of the policy that the proxy is known to judge by; undefined while none was acknowledged. */
  appliedRevision: number | undefined;

  /** Begins to connect, and goes on until `stop`. */
  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#silentSince = performance.now();
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  /** Tries at once, where a pause would come first. */
  hurry(): void {
    if (this.#stopped || this.#socket !== undefined) return;
    clearTimeout(this.#retry);
    this.#retryMs = FIRST_RETRY_MS;
    this.#connect();
  }

  /** Settles when this policy, or a newer one, is in force in the proxy; also at `stop`. */
  push(policy: L7Policy, endpoints: readonly ProxyEndpoint[]): Promise<void> {
    const pushed = { policy, endpoints };
    this.#newest = pushed;
    const applied = new Promise<void>((resolve) => this.#waiters.push({ pushed, resolve }));
    this.#sendNewest();
    return applied;
  }

  /** The answer of this observation may go on now. */
  dnsApplied(id: number): void {
    this.#send({ type: 'dns-applied', id });
  }

  #connect(): void {
    const socket = connect(this.#path);
    this.#socket = socket;
    this.#rest = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => this.#onConnect());
    socket.on('data', (text: string) => this.#onText(socket, text));
    socket.on('error', (error) => {
      if (this.#connected) this.#deps.log.warn({ error: error.message }, 'connection to the proxy failed');
    });
    socket.on('close', () => this.#onClose(socket));
  }

  #onConnect(): void {
    this.#connected = true;
    this.#retryMs = FIRST_RETRY_MS;
    this.#sequence = 0;
    this.#underWay = undefined;
    this.#sendNewest();
  }

  #onClose(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    if (this.#connected) this.#silentSince = performance.now();
    this.#connected = false;
    this.#underWay = undefined;
    if (this.#stopped) return;
    this.#retry = setTimeout(() => this.#connect(), this.#retryMs).unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  #sendNewest(): void {
    if (!this.#connected || this.#underWay !== undefined || this.#newest === undefined) return;
    const { policy, endpoints } = this.#newest;
    this.#underWay = this.#newest;
    this.#sequence++;
    this.#send({ type: 'policy', sequence: this.#sequence, policy, endpoints });
  }

  #send(message: AgentToProxy): void {
    if (this.#connected) this.#socket?.write(`${JSON.stringify(message)}\n`);
  }

  #onText(socket: Socket, text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    try {
      if (this.#rest.length > LONGEST_LINE) throw new Error('a line without end');
      for (const line of lines) if (line !== '') this.#onMessage(JSON.parse(line) as ProxyToAgent);
    } catch (error) {
      this.#deps.log.error({ error: errorText(error) }, 'the proxy sent what is no message');
      socket.destroy();
    }
  }

  #onMessage(message: ProxyToAgent): void {
    switch (message.type) {
      case 'hello':
        this.#deps.log.info({ pid: message.pid, version: message.version }, 'connected to the proxy');
        this.#deps.onHello?.(message.pid, message.version);
        return;
      case 'policy-applied':
        this.#onApplied(message.sequence);
        return;
      case 'access-log':
        this.#deps.onRecords(message.records);
        return;
      case 'lost':
        this.#deps.onLost(message.records);
        return;
      case 'counters':
        this.#deps.onCounters(message.counters);
        return;
      case 'dns-observed':
        this.#deps.onObservation(message.id, message.observation);
    }
  }

  #onApplied(sequence: number): void {
    const applied = this.#underWay;
    if (applied === undefined || sequence !== this.#sequence) return;
    this.#underWay = undefined;
    this.appliedRevision = applied.policy.revision;
    const last = this.#waiters.findLastIndex(({ pushed }) => pushed === applied);
    for (const { resolve } of this.#waiters.splice(0, last + 1)) resolve();
    if (this.#newest !== applied) this.#sendNewest();
  }
}
