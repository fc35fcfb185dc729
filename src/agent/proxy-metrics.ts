import { type L7Kind, PAIR_KINDS } from '../model/l7.ts';
import { type DnsCounters, type ProxyCounters, REPLY_BUCKETS_S } from '../model/proxy-counters.ts';
import type { FqdnLookup } from '../policy/fqdn-lookups.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import type { FqdnManager } from './fqdn-manager.ts';
import type { MetricSet, ToldHistogram } from './metric-set.ts';
import type { ProxyPart } from './proxy-part.ts';
import { redirectsOf } from './proxy-view.ts';

export interface ProxyMetricsDeps {
  /** What the proxy told last; it begins anew with each process. */
  readonly proxyCounters: () => ProxyCounters;
  readonly proxy: ProxyPart;
  readonly manager: EndpointManager;
  readonly fqdn: FqdnManager;
  readonly now: () => Date;
}

/** What the proxy calls verdicts, in the words of the metric. */
const OUTCOMES = {
  received: 'received',
  forwarded: 'forwarded',
  denied: 'denied',
  parse_errors: 'error',
} as const;
const KINDS: readonly L7Kind[] = ['http', 'kafka', 'dns', 'tls', ...PAIR_KINDS];

/** Requests and answers of every protocol. */
export function addProxyMetrics(set: MetricSet, deps: ProxyMetricsDeps): void {
  const { proxyCounters, manager, proxy } = deps;
  set.counter(
    'cilium_policy_l7_total',
    'Requests that the proxy judged, by outcome',
    ['rule', 'proxy_type'],
    (made) => {
      for (const kind of KINDS)
        for (const [rule, what] of Object.entries(OUTCOMES))
          made.inc(
            { rule, proxy_type: kind === 'dns' ? 'fqdn' : kind },
            proxyCounters().requests[kind][what],
          );
    },
  );
  set.gauge(
    'cilium_proxy_redirects',
    'Redirects to the proxy by protocol',
    (made) => {
      const redirects = redirectsOf(manager.list(), proxy.ports);
      for (const protocol of KINDS)
        made.set({ protocol }, redirects.filter((redirect) => redirect.proxy === protocol).length);
    },
    ['protocol'],
  );
  set.histogram(
    'cilium_proxy_upstream_reply_seconds',
    'Time from the last byte of a request to the first of its answer',
    REPLY_BUCKETS_S,
    () => replyTimes(proxyCounters()),
  );
  addDnsMetrics(set, () => proxyCounters().dns);
  addNameMetrics(set, deps);
}

function replyTimes({ replies }: ProxyCounters): readonly ToldHistogram[] {
  return KINDS.flatMap((kind) =>
    (['answered', 'failed'] as const).map((outcome) => {
      const { counts, sumSeconds } = replies[kind][outcome];
      const error = outcome === 'answered' ? 'allow' : 'proxyErr';
      return { labels: { protocol_l7: kind, scope: 'upstreamTime', error }, counts, sum: sumSeconds };
    }),
  );
}

type DnsEvents = Readonly<Record<string, keyof DnsCounters>>;

const QUERIES: DnsEvents = {
  forwarded: 'forwarded',
  denied: 'denied',
  malformed: 'malformedQueries',
  oversized: 'oversizedQueries',
  repeated: 'repeatedQueries',
  limited: 'limitedQueries',
};
const ANSWERS: DnsEvents = {
  passed: 'answers',
  malformed: 'malformedAnswers',
  foreign: 'foreignAnswers',
  wrong_question: 'wrongQuestions',
};
const UPSTREAM_ERRORS: DnsEvents = { timeout: 'timeouts', unreachable: 'unreachable' };

function addDnsMetrics(set: MetricSet, dns: () => Readonly<DnsCounters>): void {
  const counter = (name: string, help: string, label: string, events: DnsEvents): void =>
    set.counter(name, help, [label], (made) => {
      for (const [value, field] of Object.entries(events)) made.inc({ [label]: value }, dns()[field]);
    });
  counter('ciliate_dns_queries_total', 'Queries of names by outcome', 'outcome', QUERIES);
  counter('ciliate_dns_answers_total', 'What came from servers of names, by outcome', 'outcome', ANSWERS);
  counter(
    'ciliate_dns_upstream_errors_total',
    'Queries that a server did not answer, by reason',
    'error',
    UPSTREAM_ERRORS,
  );
  set.counter(
    'cilium_fqdn_semaphore_rejected_total',
    'Queries beyond the number that may wait for answers at once',
    [],
    (made) => made.inc(dns().limitedQueries),
  );
  set.counter(
    'cilium_proxy_datapath_update_timeout_total',
    'Answers of names that clients got before their addresses were in force',
    [],
    (made) => made.inc(dns().unapplied),
  );
}

/** An endpoint's part of the names' cache. */
interface HeldNames {
  readonly names: Set<string>;
  readonly addresses: Set<string>;
  readonly retired: Set<string>;
}

/** By endpoint: what is within its time to live, and addresses that only connections keep. */
function heldByEndpoint(lookups: Iterable<FqdnLookup>, nowMs: number): ReadonlyMap<number, HeldNames> {
  const found = new Map<number, HeldNames>();
  for (const { endpoint, name, address, expiresMs } of lookups) {
    const held = found.get(endpoint) ?? { names: new Set(), addresses: new Set(), retired: new Set() };
    found.set(endpoint, held);
    if (expiresMs > nowMs) {
      held.names.add(name);
      held.addresses.add(address);
    } else held.retired.add(address);
  }
  return found;
}

function addNameMetrics(set: MetricSet, { fqdn, now }: ProxyMetricsDeps): void {
  const gauge = (name: string, help: string, part: keyof HeldNames): void =>
    set.gauge(
      name,
      help,
      (made) => {
        for (const [endpoint, held] of heldByEndpoint(fqdn.lookups(), now().getTime()))
          made.set({ endpoint: String(endpoint) }, held[part].size);
      },
      ['endpoint'],
    );
  gauge('cilium_fqdn_active_names', 'Names within their time to live, by endpoint', 'names');
  gauge('cilium_fqdn_active_ips', 'Addresses of names within their time to live, by endpoint', 'addresses');
  gauge(
    'cilium_fqdn_alive_zombie_connections',
    'Addresses of names past their time to live that are still kept, by endpoint',
    'retired',
  );
  set.gauge('ciliate_fqdn_cache_entries', 'Pairs of name and address, over all endpoints', (made) => {
    let pairs = 0;
    for (const _ of fqdn.lookups()) pairs++;
    made.set(pairs);
  });
  set.counter(
    'cilium_fqdn_gc_deletions_total',
    'Addresses of names that garbage collection took',
    [],
    (made) => made.inc(fqdn.dropped),
  );
}
