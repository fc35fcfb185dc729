import type { HttpRule, L7Filter } from '../../src/model/l7.ts';
import { HttpRuleSet, type JudgedRequest } from '../../src/proxy/http/rule-set.ts';
import { report } from './measure.ts';

export const RULES = 1000;
const REQUESTS = 20_000;
const ROUNDS = 7;

/** A quarter literal paths, a quarter prefixes, half expressions. */
export function ruleAt(i: number): HttpRule {
  const shapes = [
    `/api/v1/service${i}/status`,
    `/api/v1/service${i}/.*`,
    `/api/v[0-9]+/service${i}/[^/]+/items`,
    `/(?:public|internal)/service${i}/[a-z0-9-]+\\.json`,
  ];
  const method = i % 3 === 0 ? undefined : i % 3 === 1 ? 'GET' : 'GET|POST';
  return { path: shapes[i % 4], method, host: undefined, headers: [], headerMatches: [] };
}

/** Paths that rule `i` allows, or that none does when `i` is beyond the rules; `salt` makes them different. */
function pathAt(i: number, salt: number): string {
  const shapes = [
    `/api/v1/service${i}/status`,
    `/api/v1/service${i}/item${salt}`,
    `/api/v${salt % 9}/service${i}/x${salt}/items`,
    `/public/service${i}/file-${salt}.json`,
  ];
  return shapes[i % 4] ?? '';
}

function request(path: string): JudgedRequest {
  return {
    method: 'GET',
    hostText: 'h',
    understood: { path, bare: undefined, rewritten: false },
    joined: () => undefined,
    disguised: () => [],
  };
}

/** Microseconds of the thread's processor time a request, the best round. */
function timed(set: HttpRuleSet, requests: readonly JudgedRequest[]): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.threadCpuUsage();
    for (const one of requests) set.judge(one);
    const { user, system } = process.threadCpuUsage(start);
    best = Math.min(best, (user + system) / requests.length);
  }
  return best;
}

/** What 1,000 rules cost a request. */
export function measureRules(): void {
  const rules = Array.from({ length: RULES }, (_, i) => ruleAt(i));
  const filter: L7Filter = {
    ...{ protocol: 6, firstPort: 0, lastPort: 65_535, peers: undefined, ruleId: 1, ruleName: 'bench/rule' },
    l7: { kind: 'http', rules },
  };
  const begun = performance.now();
  const set = new HttpRuleSet([filter]);
  const compileMs = performance.now() - begun;
  const few = Array.from({ length: REQUESTS }, (_, n) => request(pathAt((n * 7) % 400, 1)));
  const many = Array.from({ length: REQUESTS }, (_, n) => request(pathAt((n * 7) % RULES, n)));
  const denied = Array.from({ length: REQUESTS }, (_, n) => request(pathAt(RULES + ((n * 7) % RULES), n)));
  report(`${RULES} HTTP rules, ${REQUESTS} requests, best of ${ROUNDS} rounds`, [
    { what: 'compile', value: compileMs, unit: 'ms' },
    { what: '400 different paths, allowed', value: timed(set, few), unit: 'us/request', aim: '<= 5' },
    { what: '20,000 different paths, allowed', value: timed(set, many), unit: 'us/request', aim: '<= 5' },
    { what: '20,000 different paths, denied', value: timed(set, denied), unit: 'us/request', aim: '<= 5' },
  ]);
}
