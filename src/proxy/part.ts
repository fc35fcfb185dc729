import type { Logger } from '../base/log.ts';
import type { L7Kind } from '../model/l7.ts';
import type { DnsCounters } from '../model/proxy-counters.ts';
import type { AgentToProxy, ProxyListener } from '../model/proxy-protocol.ts';
import type { SendToAgent } from './access-log.ts';
import type { PolicyHolder } from './policy-holder.ts';
import type { Clock, Dial, DialStream, FlowOf, LogSink } from './types.ts';

/** What a part of the proxy that serves another protocol gets. */
export interface ProxyHost {
  readonly policy: PolicyHolder;
  readonly clock: Clock;
  readonly flowOf: FlowOf;
  readonly dial: Dial;
  readonly dialStream: DialStream;
  /** Takes records of the access log. */
  readonly record: LogSink;
  /** Sends to the agent; false: it is away or slow, the message was not taken. */
  readonly send: SendToAgent;
  readonly log: Logger;
}

/** Serves one kind of listener. */
export interface ProxyPart {
  readonly kind: L7Kind;
  /** What it counts beside records of the access log. */
  readonly counters?: Readonly<DnsCounters> | undefined;
  listen(listener: ProxyListener): Promise<void>;
  /** A message of the agent other than `policy`. */
  onMessage?(message: AgentToProxy): void;
  stop(): Promise<void>;
}
