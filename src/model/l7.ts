import type { NumericIdentity } from './identity.ts';
import type { Direction } from './map-state.ts';

/** A name or pattern of `toFQDNs` and `rules.dns`, lower case, without the final dot. */
export type DnsPattern =
  | { readonly kind: 'name'; readonly name: string }
  /** `*` is any run of letters, digits, `-` and `_` within one label; a leading `**.` one or more labels; `*` alone everything. */
  | { readonly kind: 'pattern'; readonly pattern: string }
  /** As 2018 had them: a regular expression (RE2) over the whole name, in any case; the name may have its final dot. */
  | { readonly kind: 'regex'; readonly regex: string };

/** Where a value lies that rules do not show. */
export interface SecretName {
  /** Empty: the namespace of the rule's object. */
  readonly namespace: string;
  readonly name: string;
}

/** A header that a request must carry. */
export interface HeaderMatch {
  /** As written; names of headers have no case. */
  readonly name: string;
  /** Undefined: the header must be there, with any value. */
  readonly value: string | undefined;
  /** Its value counts, and `value` only while there is none. With neither the header cannot match. */
  readonly secret?: SecretName | undefined;
  /** What the Secret holds, a byte a character; only on its way to the proxy, never to be shown. */
  readonly secretValue?: string | undefined;
  /** What to do when it does not match; undefined: the rule does not allow the request. */
  readonly mismatch?: 'LOG' | 'ADD' | 'DELETE' | 'REPLACE' | undefined;
}

/** One HTTP rule: every part that is there must match. Without parts it allows every request. */
export interface HttpRule {
  /** Regular expressions (RE2) over the whole value; undefined matches everything. `path` includes the query. */
  readonly path: string | undefined;
  readonly method: string | undefined;
  readonly host: string | undefined;
  /** `Name: value` or `Name`; values are compared whole. */
  readonly headers: readonly string[];
  readonly headerMatches: readonly HeaderMatch[];
}

/** One Kafka rule: every part that is there must match. */
export interface KafkaRule {
  /** Excludes `apiKey`. */
  readonly role: 'produce' | 'consume' | undefined;
  /** Lower case name of the request: `fetch`, `createtopics` ... */
  readonly apiKey: string | undefined;
  readonly apiVersion: number | undefined;
  readonly clientId: string | undefined;
  readonly topic: string | undefined;
}

/** Names of `l7proto` whose requests can be judged. */
export const PAIR_KINDS = ['memcache', 'cassandra', 'r2d2'] as const;
export type PairKind = (typeof PAIR_KINDS)[number];

/** One rule of `l7`: keys and values that the protocol gives a meaning. Without any it allows every request. */
export type PairRule = Readonly<Record<string, string>>;

/** The L7 rules of one entry of `toPorts`; a request passes if one of them allows it. An empty list allows none. */
export type L7Rules =
  | { readonly kind: 'http'; readonly rules: readonly HttpRule[] }
  | { readonly kind: 'kafka'; readonly rules: readonly KafkaRule[] }
  | { readonly kind: 'dns'; readonly rules: readonly DnsPattern[] }
  /** Names of servers that TLS may ask for, as `parseServerName` gives them; the entry's `serverNames`. */
  | { readonly kind: 'tls'; readonly rules: readonly string[] }
  | { readonly kind: PairKind; readonly rules: readonly PairRule[] }
  /** An `l7proto` that nothing can judge: what must pass by it is dropped. */
  | { readonly kind: 'other'; readonly protocol: string; readonly rules: readonly PairRule[] };

/** Protocols that the proxy can judge; each has a listener per direction that it is used in. */
export type L7Kind = Exclude<L7Rules['kind'], 'other'>;

/** Proxy port (host order) by parser and direction; 0 is one that nobody listens on: what must pass it is dropped. */
export type ProxyPorts = Readonly<Record<`${L7Kind}-${Direction}`, number>>;

export const NO_PROXY_PORTS: ProxyPorts = {
  'http-ingress': 0,
  'http-egress': 0,
  'kafka-ingress': 0,
  'kafka-egress': 0,
  'dns-ingress': 0,
  'dns-egress': 0,
  'tls-ingress': 0,
  'tls-egress': 0,
  'memcache-ingress': 0,
  'memcache-egress': 0,
  'cassandra-ingress': 0,
  'cassandra-egress': 0,
  'r2d2-ingress': 0,
  'r2d2-egress': 0,
};

/** What one rule lets through on some ports, for the proxy. */
export interface L7Filter {
  /** IANA number: 6 or 17; 0 is both. */
  readonly protocol: number;
  /** First and last port, host order; 0..65535 is every port. */
  readonly firstPort: number;
  readonly lastPort: number;
  /** Peers; undefined is everybody. */
  readonly peers: readonly NumericIdentity[] | undefined;
  /** Undefined: every request passes. */
  readonly l7: L7Rules | undefined;
  /** Of endpoints only that name their ports so, each as `ProxyEndpoint` has it; undefined: of all that the subject has. */
  readonly portNames?: readonly string[] | undefined;
  /** 0 for what no rule made. */
  readonly ruleId: number;
  /** `namespace/name`, or the rule's labels, for access log records. */
  readonly ruleName: string;
  /** `log.value` of the rule. */
  readonly log?: string | undefined;
}

/**
 * What the proxy must know of one subject. A request passes in a direction if a filter that matches its peer and port
 * allows it; a direction that is undefined is not judged at all.
 */
export interface L7SubjectPolicy {
  readonly subject: NumericIdentity;
  readonly ingress: readonly L7Filter[] | undefined;
  readonly egress: readonly L7Filter[] | undefined;
}

/** The whole L7 policy of a node at one revision. Subjects without L7 rules are left out: nothing of theirs is redirected. */
export interface L7Policy {
  readonly revision: number;
  readonly subjects: readonly L7SubjectPolicy[];
}

/** One end of a proxied flow. Ports are host order; endpoint 0 is not of this node. */
export interface L7Peer {
  readonly address: string;
  readonly port: number;
  readonly identity: NumericIdentity;
  readonly endpoint: number;
}

export interface HttpRecord {
  readonly method: string;
  /** As received: path and query. */
  readonly path: string;
  readonly host: string;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  /** Of the answer; 403 and 400 are the proxy's own; 0: there was none. */
  readonly status: number;
}

export interface KafkaRecord {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly topics: readonly string[];
  /** 0, or the error code that the proxy answered. */
  readonly errorCode: number;
}

export interface DnsRecord {
  readonly query: string;
  /** `A`, `AAAA`, `CNAME` ... or `TYPE65`. */
  readonly queryTypes: readonly string[];
  /** Of the answer; 5 (refused) is the proxy's own. Undefined in a record of the query. */
  readonly rcode: number | undefined;
  readonly addresses: readonly string[];
  readonly cnames: readonly string[];
  readonly ttlSeconds: number;
}

/** A connection with TLS, which is judged as a whole. */
export interface TlsRecord {
  /** That the client asked for, lower case; empty without one, or where it is not known to be TLS. */
  readonly serverName: string;
}

/** A request of a protocol of `l7proto`, by the words of its rules; empty for what could not be read. */
export interface PairRecord {
  readonly fields: Readonly<Record<string, string>>;
}

/** One record of the access log: a request with its verdict, or its answer. */
export interface AccessLogRecord {
  readonly kind: 'l7';
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly type: 'request' | 'response';
  /** `error`: the request could not be read, or the destination not be reached. */
  readonly verdict: 'forwarded' | 'denied' | 'error';
  /** Whose policy decided. */
  readonly direction: Direction;
  readonly source: L7Peer;
  readonly destination: L7Peer;
  /** Names of the rules that allowed it; empty when none did. */
  readonly rules: readonly string[];
  /** Why, for denied and error; what a rule that allowed it wants logged (mismatch LOG); empty otherwise. */
  readonly reason: string;
  /** From the request's last byte to the answer's first, nanoseconds; 0 in a request's record. */
  readonly latencyNs: number;
  readonly l7:
    | ({ readonly kind: 'http' } & HttpRecord)
    | ({ readonly kind: 'kafka' } & KafkaRecord)
    | ({ readonly kind: 'dns' } & DnsRecord)
    | ({ readonly kind: 'tls' } & TlsRecord)
    | ({ readonly kind: PairKind } & PairRecord);
}
