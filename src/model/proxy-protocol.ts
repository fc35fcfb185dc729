import type { NumericIdentity } from './identity.ts';
import type { AccessLogRecord, L7Policy, ProxyPorts } from './l7.ts';
import type { ProxyCounters } from './proxy-counters.ts';

/** SO_MARK of what the proxy sends; accepted sockets inherit it from their listener. */
export const PROXY_MARK = 0xa00;

export const PROXY_TRANSPORTS = ['tcp4', 'tcp6', 'udp4', 'udp6', 'reply4', 'reply6'] as const;

/**
 * A socket that the agent opened for the proxy, transparent and marked: listening (tcp), bound and ready to receive (udp),
 * or of type `raw-udp` for answers to datagrams (reply; only `dns-egress` has one).
 */
export interface ProxyListener {
  /** Parser and direction. */
  readonly name: keyof ProxyPorts;
  readonly transport: (typeof PROXY_TRANSPORTS)[number];
  readonly fd: number;
}

/** What a proxy process inherits; `--listener NAME/TRANSPORT=FD`, `--conntrack-fd FD` and `--epochs-fd FD` of its command line. */
export interface ProxyDescriptors {
  readonly listeners: readonly ProxyListener[];
  /** Conntrack maps, read-only, and the epochs of what is in them; undefined where there is no datapath. */
  readonly conntrack: { readonly ipv4: number; readonly ipv6: number; readonly epochs: number } | undefined;
}

/*
 * What agent and proxy say to each other: JSON texts, one a line, over the proxy's unix socket. The proxy listens, the
 * agent connects, and connects again after a restart of either; a newer connection ends the older one.
 */

/** An endpoint of this node, for log records. */
export interface ProxyEndpoint {
  readonly endpoint: number;
  readonly identity: NumericIdentity;
  readonly addresses: readonly string[];
  /** How it names its ports, a text that is the same exactly for the same names. Undefined: filters for some names do not count. */
  readonly portNames?: string | undefined;
}

export type AgentToProxy =
  /** The whole policy and all endpoints; replaces what was sent before. Answered by `policy-applied`. */
  | {
      readonly type: 'policy';
      /** Grows by one with each message of a connection. */
      readonly sequence: number;
      readonly policy: L7Policy;
      readonly endpoints: readonly ProxyEndpoint[];
    }
  /** The answer of this observation may go to the client now. */
  | { readonly type: 'dns-applied'; readonly id: number };

/** Addresses that a name has, as an answer told that an endpoint is about to see. */
export interface DnsObservation {
  /** Local endpoint that asked. */
  readonly endpoint: number;
  readonly identity: NumericIdentity;
  /** The name asked for, then those that lead from it to the addresses by CNAME; lower case, without the final dot. */
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  /** The smallest TTL on the way. */
  readonly ttlSeconds: number;
}

export type ProxyToAgent =
  | { readonly type: 'hello'; readonly pid: number; readonly version: string }
  /** Requests that begin from now on are judged by that policy. */
  | { readonly type: 'policy-applied'; readonly sequence: number }
  | { readonly type: 'access-log'; readonly records: readonly AccessLogRecord[] }
  /** Log records that a slow agent could not take, since the last message of this type. */
  | { readonly type: 'lost'; readonly records: number }
  /** After `hello`, and once a second while something is counted. */
  | { readonly type: 'counters'; readonly counters: ProxyCounters }
  | { readonly type: 'dns-observed'; readonly id: number; readonly observation: DnsObservation };
