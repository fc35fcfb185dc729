import {
  type DnsPattern,
  type HeaderMatch,
  type HttpRule,
  type KafkaRule,
  type L7Rules,
  PAIR_KINDS,
  type PairKind,
} from '../../src/model/l7.ts';
import type { Direction } from '../../src/model/map-state.ts';
import type { Random } from './random.ts';

/*
 * Random L7 rules and requests. Both are made of few words, so that they meet, and of every form that a rule can have:
 * literals, alternatives, prefixes, classes, anchors; headers that match, are missing, or are changed.
 */

export interface HttpTry {
  readonly method: string;
  /** One of the keys of READINGS. */
  readonly path: string;
  readonly host: string;
  /** Names and values, in the order in which they are sent; never `Host`. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** A request of a protocol of `l7proto`: command and keys, joined by commas, or command and file, or action and table. */
export interface PairTry {
  readonly kind: PairKind;
  readonly words: readonly [string, string];
}

export interface KafkaTry {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly clientId?: string | undefined;
  /** Left out: the request is of every topic. */
  readonly topics?: readonly string[] | undefined;
}

/** Requests of each kind; names of DNS are in lower case and without the final dot. */
export interface LanguageRequests {
  readonly http: readonly HttpTry[];
  readonly kafka: readonly KafkaTry[];
  readonly dns: readonly string[];
  /** Servers that TLS asks for; empty for a hello without a name. */
  readonly tls?: readonly string[];
}

export const NO_REQUESTS: LanguageRequests = { http: [], kafka: [], dns: [] };

/** How a server reads a path; `bare` is the path without parameters, which rules must allow as well. */
export interface Reading {
  readonly path: string;
  readonly bare?: string;
}

const asSent = (paths: readonly string[]): [string, Reading][] => paths.map((path) => [path, { path }]);

/** Paths that are sent, and what they mean (RFC 3986 §6.2.2). */
export const READINGS: ReadonlyMap<string, Reading> = new Map([
  ...asSent([
    '/',
    '/v1',
    '/v1/',
    '/v1/a',
    '/v1/b',
    '/v1/7',
    '/v1/a?q=1',
    '/v2/a',
    '/v2/b',
    '/v22/a',
    '/V1/a',
  ]),
  ...asSent(['/aa', '/aaaa', '/x/v1/a', '/v1/a.b', '/v1/a%20b', '/v1/a%3F']),
  ['/v1/%61', { path: '/v1/a' }],
  ['/%76%31/%2D', { path: '/v1/-' }],
  ['/v1/a%3f', { path: '/v1/a%3F' }],
  ['/v1/a;x', { path: '/v1/a;x', bare: '/v1/a' }],
  ['/v1/b;x=1/c?q=;', { path: '/v1/b;x=1/c?q=;', bare: '/v1/b/c?q=;' }],
]);

const METHODS = ['GET', 'GET', 'POST', 'PUT', 'HEAD', 'get'];
const HOSTS = [
  'example.org',
  'a.example.org',
  'b.example.org',
  'A.example.org',
  'exampleXorg',
  'example.org:80',
];
const HEADER_NAMES = ['X-A', 'x-a', 'X-B', 'Accept'];
const HEADER_VALUES = ['1', '2', 'b c', 'a,b', ''];

const PATH_RULES = [
  ...['/', '/v1', '/v1/a', '/v1/.*', '/v1/.+', '.*', '^/v1/a$', '^/v2/.*$', '/v1/a|/v2/b', '/v1/a\\.b'],
  ...['/v1/[a-z]', '/v1/[a-z]+', '/(v1|v2)/.+', '/v[12]*/a', '.*a', '/a{2,3}', '/v1/\\d+', '/v1/a\\?q=.*'],
  ...['/v1/a(;x)?', '/v1/a.b', '[^?]*', '/v1/(a|b;x=1/c|b/c).*', '/v1/-', '(?:/v1)?/a.*'],
];
const METHOD_RULES = ['GET', 'POST|PUT', '(GET|HEAD)', '^GET$', 'P.*', '[A-Z]+', 'GET|P[A-Z]+', '.*'];
const HOST_RULES = [
  'example.org',
  'example\\.org',
  '.*\\.example\\.org',
  '(a|b)\\.example\\.org',
  '[a-z.]+(:\\d+)?',
];
const HEADER_RULES = ['X-A', 'X-A: 1', 'x-a:2', 'X-B: b c', 'X-B 1', 'Accept: 1,2', 'accept: a,b'];

/** Names of requests of Kafka and their numbers (protocol guide, "API keys"). */
export const KAFKA_KEYS: Readonly<Record<string, number>> = {
  produce: 0,
  fetch: 1,
  metadata: 3,
  offsetcommit: 8,
  heartbeat: 12,
  apiversions: 18,
  createtopics: 19,
};
const TOPICS = ['t', 'u', 't.1'];
const CLIENTS = ['c', 'd'];

const DNS_RULES = [
  ...['a.example.com', '*.example.com', '**.example.com', '*', 'a*.example.com', '*a*b*.example.com'],
  ...['**.com', '*.*.com', '_x.example.com', 'example.com', '*', '*.com', '**.*.com'],
];
const DNS_NAMES = [
  ...[
    'a.example.com',
    'b.a.example.com',
    'example.com',
    'ab.example.com',
    'xaxb.example.com',
    '_x.example.com',
  ],
  ...['com', '', 'a.com', 'a.b.c.example.com', 'aexample.com', 'a.example.com.org', 'a b.example.com'],
];

/** Entries of `serverNames`. */
export const SERVER_NAME_RULES = [
  ...['a.example.com', '*.example.com', '**.example.com', 'example.com', '*.a.example.com', '**.com'],
];
const SERVER_NAMES = [
  'a.example.com',
  'b.a.example.com',
  'example.com',
  'xample.com',
  'aexample.com',
  'com',
  '',
];

/** Makes L7 rules and requests of the numbers it is given. */
export class L7Maker {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  #sometimes<T>(n: number, values: readonly T[]): T | undefined {
    return this.#random.oneIn(n) ? this.#random.pick(values) : undefined;
  }

  #headerMatch(): HeaderMatch {
    const random = this.#random;
    const mismatch = random.pick([undefined, undefined, 'LOG', 'ADD', 'DELETE', 'REPLACE'] as const);
    return {
      // Fields that route a message cannot be changed: such a rule allows nothing.
      name: random.oneIn(20) ? 'Host' : random.pick(HEADER_NAMES),
      value: random.oneIn(4) ? undefined : random.pick(HEADER_VALUES),
      ...(mismatch !== undefined && { mismatch }),
    };
  }

  #http(): HttpRule {
    const random = this.#random;
    return {
      path: random.oneIn(6) ? undefined : random.pick(PATH_RULES),
      method: this.#sometimes(2, METHOD_RULES),
      host: this.#sometimes(4, HOST_RULES),
      headers: random.oneIn(5) ? random.list(1, 2, () => random.pick(HEADER_RULES)) : [],
      headerMatches: random.oneIn(4) ? random.list(1, 2, () => this.#headerMatch()) : [],
    };
  }

  #kafka(): KafkaRule {
    const role = this.#sometimes(3, ['produce', 'consume'] as const);
    return {
      role,
      apiKey: role === undefined ? this.#sometimes(2, Object.keys(KAFKA_KEYS)) : undefined,
      apiVersion: this.#sometimes(4, [0, 1, 7]),
      clientId: this.#sometimes(4, CLIENTS),
      topic: this.#sometimes(2, TOPICS),
    };
  }

  #dns(): DnsPattern {
    const text = this.#random.pick(DNS_RULES);
    return text.includes('*') ? { kind: 'pattern', pattern: text } : { kind: 'name', name: text };
  }

  rules(direction: Direction): L7Rules {
    const random = this.#random;
    const fewest = random.oneIn(10) ? 0 : 1;
    if (direction === 'egress' && random.oneIn(5))
      return { kind: 'dns', rules: random.list(fewest, 2, () => this.#dns()) };
    if (random.oneIn(8)) return { kind: 'kafka', rules: random.list(fewest, 3, () => this.#kafka()) };
    if (random.oneIn(8)) return { kind: random.pick(PAIR_KINDS), rules: [{}] };
    if (random.oneIn(16)) return { kind: 'other', protocol: 'unspoken', rules: [] };
    return { kind: 'http', rules: random.list(fewest, 3, () => this.#http()) };
  }

  #httpTry(): HttpTry {
    const random = this.#random;
    return {
      method: random.pick(METHODS),
      path: random.pick([...READINGS.keys()]),
      host: random.pick(HOSTS),
      headers: random.list(0, 3, () => [random.pick(HEADER_NAMES), random.pick(HEADER_VALUES)] as const),
    };
  }

  #kafkaTry(): KafkaTry {
    const random = this.#random;
    return {
      apiKey: random.pick(Object.values(KAFKA_KEYS)),
      apiVersion: random.pick([0, 1, 7, 8]),
      ...(!random.oneIn(4) && { clientId: random.pick(CLIENTS) }),
      ...(!random.oneIn(6) && { topics: [...new Set(random.list(0, 2, () => random.pick(TOPICS)))] }),
    };
  }

  requests(): LanguageRequests {
    const random = this.#random;
    return {
      http: random.list(8, 12, () => this.#httpTry()),
      kafka: random.list(6, 8, () => this.#kafkaTry()),
      dns: random.list(6, 8, () => random.pick(DNS_NAMES)),
      tls: random.list(4, 6, () => random.pick(SERVER_NAMES)),
    };
  }
}
