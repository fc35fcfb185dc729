import { performance } from 'node:perf_hooks';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AgentToProxy, ProxyListener } from '../model/proxy-protocol.ts';
import { AccessLog } from './access-log.ts';
import { ControlServer } from './control-server.ts';
import { Counters } from './counters.ts';
import { DEFAULT_LIMITS, type HttpLimits } from './http/limits.ts';
import { createHttpPart } from './http/part.ts';
import { createKafkaPart } from './kafka/part.ts';
import { createPairParts } from './pairs/part.ts';
import type { ProxyHost, ProxyPart } from './part.ts';
import { PolicyHolder } from './policy-holder.ts';
import { createTlsPart } from './tls/part.ts';
import type { Clock, Dial, DialStream, FlowOf, LogSink } from './types.ts';

export type { ProxyHost, ProxyPart } from './part.ts';

export interface ProxyOptions {
  /** Unix socket on which the agent is listened to; its mode is 0600. */
  readonly socketPath: string;
  /** Told to the agent. */
  readonly version: string;
  /** Inherited sockets. Those of a kind that nothing serves are left alone. */
  readonly listeners: readonly ProxyListener[];
  readonly http?: Partial<HttpLimits> | undefined;
  /** Client connections of one listener at most, a quarter of them of one address; further ones are closed. Default 16384. */
  readonly maxConnections?: number | undefined;
  /** Access log records kept for an agent that is away or slow. Default 8192. */
  readonly logCapacity?: number | undefined;
}

export interface ProxyDeps {
  readonly flowOf: FlowOf;
  readonly dial: Dial;
  /** For HTTP/1; default `dial`. */
  readonly dialStream?: DialStream | undefined;
  readonly log: Logger;
  readonly clock?: Clock | undefined;
  /** Also told each access log record: for tests and tools. */
  readonly record?: LogSink | undefined;
  /** Parts beside HTTP, Kafka, TLS and the protocols of `l7proto`. */
  readonly parts?: readonly ((host: ProxyHost) => ProxyPart)[] | undefined;
}

export interface L7Proxy {
  /** Serves the listeners and the agent. Until the agent's first policy every request is denied. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export const systemClock: Clock = {
  monotonicNs: () => performance.now() * 1e6,
  realtimeMs: () => Date.now(),
};

const MAX_CONNECTIONS = 16_384;
const LOG_CAPACITY = 8192;

/** The L7 proxy of one node. */
export function createProxy(options: ProxyOptions, deps: ProxyDeps): L7Proxy {
  return new NodeProxy(options, deps);
}

class NodeProxy implements L7Proxy {
  readonly #options: ProxyOptions;
  readonly #policy = new PolicyHolder();
  readonly #control: ControlServer;
  readonly #parts: readonly ProxyPart[];
  readonly #records: AccessLog;
  readonly #counters: Counters;
  readonly #log: Logger;

  constructor(options: ProxyOptions, deps: ProxyDeps) {
    this.#options = options;
    this.#log = deps.log;
    const records = new AccessLog(options.logCapacity ?? LOG_CAPACITY, (json) =>
      this.#control.sendText(json),
    );
    this.#records = records;
    this.#counters = new Counters(
      (message) => this.#control.send(message),
      () => this.#parts.find(({ kind }) => kind === 'dns')?.counters,
    );
    this.#control = new ControlServer({
      path: options.socketPath,
      hello: { type: 'hello', pid: process.pid, version: options.version },
      log: deps.log,
      onMessage: (message) => this.#onMessage(message),
      onReady: () => {
        this.#counters.tell();
        records.flush();
      },
    });
    const host: ProxyHost = {
      policy: this.#policy,
      clock: deps.clock ?? systemClock,
      flowOf: guarded(deps.flowOf, deps.log),
      dial: deps.dial,
      dialStream: deps.dialStream ?? deps.dial,
      record: (record) => {
        deps.record?.(record);
        this.#counters.observe(record);
        records.record(record);
      },
      send: (message) => this.#control.send(message),
      log: deps.log,
    };
    const maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    this.#parts = [
      createHttpPart({ limits: { ...DEFAULT_LIMITS, ...options.http }, maxConnections }, host),
      createKafkaPart({ maxConnections }, host),
      ...createPairParts({ maxConnections }, host),
      createTlsPart({ maxConnections }, host),
      ...(deps.parts ?? []).map((make) => make(host)),
    ];
  }

  async start(): Promise<void> {
    await this.#control.start();
    this.#counters.start();
    for (const listener of this.#options.listeners) {
      const part = this.#parts.find(({ kind }) => listener.name.startsWith(`${kind}-`));
      if (part === undefined) this.#log.warn({ listener: listener.name }, 'nothing serves this listener');
      else await part.listen(listener);
    }
  }

  async stop(): Promise<void> {
    this.#counters.stop();
    await Promise.all(this.#parts.map((part) => part.stop()));
    this.#records.stop();
    await this.#control.stop();
  }

  #onMessage(message: AgentToProxy): void {
    if (message.type === 'policy') {
      this.#policy.apply(message.policy, message.endpoints);
      this.#control.send({ type: 'policy-applied', sequence: message.sequence });
    } else for (const part of this.#parts) part.onMessage?.(message);
  }
}

/** A look-up that fails tells of no flow: its requests are denied, and the log says why. */
function guarded(flowOf: FlowOf, log: Logger): FlowOf {
  return (client, server, protocol) => {
    try {
      return flowOf(client, server, protocol);
    } catch (error) {
      log.error({ client, server, error: errorText(error) }, 'flow not looked up');
      return undefined;
    }
  };
}
