import type { L7Peer, L7Policy, L7Rules } from '../../src/model/l7.ts';
import type { Direction } from '../../src/model/map-state.ts';
import { DnsJudge } from '../../src/proxy/dns/judge.ts';
import { Http2Request } from '../../src/proxy/http/http2-request.ts';
import { HttpJudge, judgeRequest } from '../../src/proxy/http/judge.ts';
import { RequestHead } from '../../src/proxy/http/request-head.ts';
import type { JudgedRequest } from '../../src/proxy/http/rule-set.ts';
import { judgeKafka } from '../../src/proxy/kafka/judge.ts';
import { cassandra } from '../../src/proxy/pairs/cassandra.ts';
import { PairJudge, type PairProtocol } from '../../src/proxy/pairs/judge.ts';
import { memcache } from '../../src/proxy/pairs/memcache.ts';
import { r2d2 } from '../../src/proxy/pairs/r2d2.ts';
import { type Flow, PolicyTable } from '../../src/proxy/policy-table.ts';
import { TlsJudge } from '../../src/proxy/tls/judge.ts';
import {
  type HttpTry,
  type KafkaTry,
  type LanguageRequests,
  NO_REQUESTS,
  type PairTry,
} from './l7-language.ts';
import { dnsOracle, httpOracle, kafkaOracle, tlsOracle } from './l7-oracle.ts';

/** A flow that passes the proxy, as seen by its local end. */
export interface JudgedFlow {
  readonly direction: Direction;
  /** Identities of the local end and of its peer. */
  readonly subject: number;
  readonly peer: number;
  readonly protocol: number;
  /** Destination port, host order. */
  readonly port: number;
  /** How the local end names its ports, `namedPortsText`. */
  readonly portNames?: string | undefined;
}

function flowOf({ direction, subject, peer, port, portNames }: JudgedFlow): Flow {
  const own = { address: '10.0.0.1', identity: subject, endpoint: 1 };
  const other = { address: '192.0.2.1', identity: peer, endpoint: 0 };
  const [client, server] = direction === 'ingress' ? [other, own] : [own, other];
  const ingress = direction === 'ingress';
  return {
    client: { ...client, port: 40_000 },
    server: { ...server, port } satisfies L7Peer,
    subjects: { client: ingress ? undefined : subject, server: ingress ? subject : undefined },
    portNames: { client: portNames, server: portNames },
  };
}

/** Bytes of a request as a client sends it. */
function headBytes({ method, path, host, headers }: HttpTry): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...headers.map((pair) => pair.join(': '))];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** Fields of a request of HTTP/2 as Node gives them: an object, in which fields of one name are joined, and a list. */
function fieldsOf2({ method, path, host, headers: pairs }: HttpTry) {
  const pseudo = [
    [':method', method],
    [':scheme', 'http'],
    [':authority', host],
    [':path', path],
  ] as const;
  const all = [...pseudo, ...pairs.map(([name, value]) => [name.toLowerCase(), value] as const)];
  const headers: Record<string, string> = {};
  for (const [name, value] of all) {
    const before = headers[name];
    headers[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return { headers, raw: all.flat() };
}

/** The proxy's own parsers and judges under one policy. */
export class ProxyJudge {
  readonly #table: PolicyTable;
  readonly #http = new HttpJudge(() => undefined);
  readonly #dns = new DnsJudge();
  readonly #head = new RequestHead(20);

  constructor(policy: L7Policy) {
    this.#table = new PolicyTable(policy, []);
  }

  /** `deny`, `as it is`, or the changes under which the request passes. @throws Error when it cannot be read */
  http(flow: JudgedFlow, request: HttpTry): string {
    const bytes = headBytes(request);
    const problem = this.#head.parse(bytes, 0, bytes.length);
    if (problem !== undefined) throw new Error(`${problem}: ${bytes}`);
    return this.#judge(flow, this.#head);
  }

  /** The same of the request in HTTP/2. */
  http2(flow: JudgedFlow, request: HttpTry): string {
    const { headers, raw } = fieldsOf2(request);
    const read = Http2Request.read(headers, raw);
    if (typeof read === 'string') throw new Error(`${read}: ${raw}`);
    return this.#judge(flow, read);
  }

  #judge(flow: JudgedFlow, request: JudgedRequest): string {
    const judges = this.#http.prepare(this.#table, flowOf(flow)) ?? [];
    if (judges.length === 0) throw new Error('nobody judges the flow');
    const { allowed, edits, reason } = judgeRequest(judges, request, flow.direction);
    if (!allowed) return 'deny';
    if (edits.length === 0 && reason === '') return 'as it is';
    return edits.map(({ action, name, value }) => `${action} ${name}=${value}`).join('; ');
  }

  kafka(flow: JudgedFlow, { apiKey, apiVersion, clientId, topics }: KafkaTry): boolean {
    const views = this.#table.views(flowOf(flow), flow.protocol) ?? [];
    if (views.length === 0) throw new Error('nobody judges the flow');
    const named = topics?.map((name) => ({ name, partitions: [] }));
    const request = { apiKey, apiVersion, clientId, topics: named, correlationId: 1, answered: true };
    return judgeKafka(views, request, flow.direction).allowed;
  }

  pair(flow: JudgedFlow, { kind, words: [first, rest] }: PairTry): boolean {
    const views = this.#table.views(flowOf(flow), flow.protocol) ?? [];
    if (views.length === 0) throw new Error('nobody judges the flow');
    const ask = <R>(protocol: PairProtocol<R>, request: R): boolean =>
      new PairJudge(protocol, () => undefined).judge(views, [request], flow.direction).allowed;
    switch (kind) {
      case 'r2d2':
        return ask(r2d2, { cmd: first, file: rest });
      case 'memcache':
        return ask(memcache, { kind: 'text', command: first, keys: rest.split(',') });
      case 'cassandra':
        return ask(cassandra, { action: first, table: rest });
    }
  }

  /** @param serverName empty for a hello without one */
  tls(flow: JudgedFlow, serverName: string): boolean {
    const views = this.#table.views(flowOf(flow), flow.protocol) ?? [];
    if (views.length === 0) throw new Error('nobody judges the flow');
    return new TlsJudge().judge(views, serverName || undefined, flow.direction).allowed;
  }

  dns(flow: JudgedFlow, name: string): boolean {
    return this.#dns.judge(this.#table, flowOf(flow), flow.protocol, name).allowed;
  }
}

/** Counts verdicts on requests, by kind. */
export type RequestCounts = Map<string, number>;

function* verdicts(
  kind: string,
  allowing: readonly (L7Rules | undefined)[],
  { http, kafka, dns, tls = [] }: LanguageRequests,
  judge: ProxyJudge,
  flow: JudgedFlow,
): Generator<{
  readonly request: unknown;
  readonly wanted: unknown;
  readonly got: string;
  readonly agrees: boolean;
}> {
  if (kind === 'http')
    for (const request of http) {
      const wanted = httpOracle(allowing, request);
      const got = judge.http(flow, request);
      const agrees = wanted === 'deny' ? got === wanted : wanted.includes(got);
      yield { request, wanted, got, agrees };
      const again = judge.http2(flow, request);
      if (again !== got) yield { request, wanted, got: `${got}, in HTTP/2: ${again}`, agrees: false };
    }
  const plain = <T>(request: T, wanted: boolean, got: boolean) => ({
    request,
    wanted: wanted ? 'allow' : 'deny',
    got: got ? 'allow' : 'deny',
    agrees: wanted === got,
  });
  if (kind === 'kafka')
    for (const request of kafka)
      yield plain(request, kafkaOracle(allowing, request), judge.kafka(flow, request));
  if (kind === 'tls')
    for (const name of tls) yield plain(name, tlsOracle(allowing, name), judge.tls(flow, name));
  if (kind === 'dns')
    for (const name of dns) yield plain(name, dnsOracle(allowing, name), judge.dns(flow, name));
}

/** One redirected flow with what the rules let through of its requests. */
export interface RedirectedCase {
  readonly flow: JudgedFlow;
  /** `http`, `kafka`, `dns`; flows of other kinds have no requests here. */
  readonly kind: string;
  readonly allowing: readonly (L7Rules | undefined)[];
  readonly requests: LanguageRequests | undefined;
}

/** Where the proxy's judges and the rules, read one by one, do not say the same of a request; undefined: nowhere. */
export function requestDisagreement(
  judge: ProxyJudge,
  { flow, kind, allowing, requests = NO_REQUESTS }: RedirectedCase,
  seen: RequestCounts = new Map(),
): string | undefined {
  for (const { request, wanted, got, agrees } of verdicts(kind, allowing, requests, judge, flow)) {
    if (!agrees)
      return `${kind} ${JSON.stringify(request)} by the rules: ${JSON.stringify(wanted)}, by the proxy: ${got}`;
    const shown = got === 'deny' || got === 'allow' || got === 'as it is' ? got : 'changed';
    seen.set(`${kind} ${shown}`, (seen.get(`${kind} ${shown}`) ?? 0) + 1);
  }
  return undefined;
}
