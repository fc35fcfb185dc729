import type * as Api from '../../src/api/schema.ts';
import { UsageError } from '../../src/base/errors.ts';
import { compileDnsPattern, foldDnsName } from '../../src/model/dns-pattern.ts';
import type { L7Filter } from '../../src/model/l7.ts';
import { serverNameMatcher } from '../../src/model/server-name.ts';
import type { ImpactRequest } from '../../src/policy/index.ts';
import { HttpRuleSet, type JudgedRequest } from '../../src/proxy/http/rule-set.ts';
import { readRequest } from './trace-request.ts';

/** The rules of HTTP as they are, and as they were without what they ask of headers. */
interface HttpSets {
  readonly strict: HttpRuleSet;
  readonly lenient: HttpRuleSet;
}

function withoutHeaders(filter: L7Filter): L7Filter {
  const { l7 } = filter;
  if (l7?.kind !== 'http') return filter;
  const rules = l7.rules.map((rule) => ({ ...rule, headers: [], headerMatches: [] }));
  return { ...filter, l7: { kind: 'http', rules } };
}

/** Judges requests that were seen, as the proxy would. Compiles the rules of a peer and port once for all of them. */
export class RequestJudges {
  readonly #sets = new Map<string, HttpSets>();

  /** @returns undefined for what the proxy would not read, or what another agent tells of that we do not know */
  of(request: Api.PolicyRequest): ImpactRequest | undefined {
    const { kind, name = '', method = '', host = '', path = '' } = request;
    const allowed = request.verdict === 'allow';
    if (kind === 'dns')
      return { title: `DNS ${name}`, allowed, judge: (filters) => judgeName(filters, name) };
    if (kind === 'tls')
      return { title: `TLS ${name}`, allowed, judge: (filters) => judgeServer(filters, name) };
    if (kind !== 'http') return undefined;
    const read = readSeen(`${method} ${path}`, host);
    if (read === undefined) return undefined;
    return { title: `${method} ${path}`, allowed, judge: (filters) => this.#judgeHttp(filters, read) };
  }

  #judgeHttp(filters: readonly L7Filter[], request: JudgedRequest): boolean | undefined {
    const { strict, lenient } = this.#setsOf(filters);
    const allowed = lenient.judge(request).allowed;
    return allowed === strict.judge(request).allowed ? allowed : undefined;
  }

  #setsOf(filters: readonly L7Filter[]): HttpSets {
    const key = JSON.stringify(filters.map(({ l7 }) => l7 ?? null));
    const known = this.#sets.get(key);
    if (known !== undefined) return known;
    const sets = { strict: new HttpRuleSet(filters), lenient: new HttpRuleSet(filters.map(withoutHeaders)) };
    this.#sets.set(key, sets);
    return sets;
  }
}

function readSeen(text: string, host: string): JudgedRequest | undefined {
  try {
    return readRequest(text, new Map(host === '' ? [] : [['host', host]]));
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

function judgeName(filters: readonly L7Filter[], name: string): boolean {
  const folded = foldDnsName(name);
  return filters.some(
    ({ l7 }) =>
      l7 === undefined || (l7.kind === 'dns' && l7.rules.some((rule) => compileDnsPattern(rule)(folded))),
  );
}

/** Where rules of another protocol meet names of servers, connections are of that protocol. */
function judgeServer(filters: readonly L7Filter[], name: string): boolean {
  if (filters.some(({ l7 }) => l7 !== undefined && l7.kind !== 'tls')) return false;
  return filters.some(
    ({ l7 }) =>
      l7 === undefined || (l7.kind === 'tls' && l7.rules.some((rule) => serverNameMatcher(rule)(name))),
  );
}
