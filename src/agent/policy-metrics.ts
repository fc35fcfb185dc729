import { Counter, Gauge, type Registry } from 'prom-client';
import { type Datapath, NO_CONNECTIONS } from '../datapath/types.ts';
import { PAIR_KINDS } from '../model/l7.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import type { FqdnManager } from './fqdn-manager.ts';
import type { PolicyActivity } from './policy-activity.ts';
import type { PolicyManager } from './policy-manager.ts';
import type { ProxyPart } from './proxy-part.ts';
import { redirectsOf } from './proxy-view.ts';

export interface PolicyMetricsDeps {
  readonly datapath: Datapath;
  readonly policy: PolicyManager;
  readonly activity: PolicyActivity;
  readonly fqdn: FqdnManager;
  readonly manager: EndpointManager;
  readonly proxy: ProxyPart;
}

/** What the proxy's log calls verdicts, in the words of the metric. */
const OUTCOMES = {
  received: 'received',
  forwarded: 'forwarded',
  denied: 'denied',
  parse_errors: 'error',
} as const;
const PROTOCOLS = ['http', 'kafka', 'dns', ...PAIR_KINDS] as const;

/** Adds what rules, proxy and names are worth to a registry; all of it is read when it is asked for. */
export function addPolicyMetrics(registry: Registry, deps: PolicyMetricsDeps): void {
  const registers = [registry];
  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    collect: (counter: Counter) => void | Promise<void>,
  ): void => {
    const made: Counter = new Counter({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        made.reset();
        await collect(made);
      },
    });
  };
  const gauge = (name: string, help: string, labelNames: string[], collect: (gauge: Gauge) => void): void => {
    const made: Gauge = new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        made.reset();
        collect(made);
      },
    });
  };
  counter('cilium_policy_change_total', 'Changes of the rules by outcome', ['outcome'], (made) => {
    made.inc({ outcome: 'success' }, deps.policy.changes);
    made.inc({ outcome: 'failure' }, deps.policy.importErrors);
  });
  counter(
    'cilium_policy_l7_total',
    'Requests that the proxy judged, by outcome',
    ['rule', 'proxy_type'],
    (made) => {
      for (const kind of PROTOCOLS)
        for (const [rule, what] of Object.entries(OUTCOMES))
          made.inc({ rule, proxy_type: kind === 'dns' ? 'fqdn' : kind }, deps.activity.requests[kind][what]);
    },
  );
  gauge('cilium_proxy_redirects', 'Redirects to the proxy by protocol', ['protocol'], (made) => {
    const redirects = redirectsOf(deps.manager.list(), deps.proxy.ports);
    for (const protocol of PROTOCOLS)
      made.set({ protocol }, redirects.filter(({ proxy }) => proxy === protocol).length);
  });
  gauge('cilium_fqdn_selectors', 'Names and patterns of toFQDNs in force', [], (made) =>
    made.set(deps.policy.fqdnSelectors().length),
  );
  counter('cilium_fqdn_gc_deletions_total', 'Addresses of names that garbage collection took', [], (made) =>
    made.inc(deps.fqdn.dropped),
  );
  addSelectorGauges(gauge, deps.policy);
  addRuleCounters(counter, deps);
}

type AddGauge = (name: string, help: string, labels: string[], collect: (gauge: Gauge) => void) => void;
type AddCounter = (
  name: string,
  help: string,
  labels: string[],
  collect: (counter: Counter) => void | Promise<void>,
) => void;

function addSelectorGauges(gauge: AddGauge, policy: PolicyManager): void {
  gauge('cilium_policy_selector_cache_selectors', 'Selectors of peers in use', [], (made) =>
    made.set(policy.selectors().length),
  );
  gauge('ciliate_local_identities', 'Identities of prefixes and names on this node', [], (made) =>
    made.set(policy.localIdentities().length),
  );
}

function addRuleCounters(counter: AddCounter, { policy, activity, datapath }: PolicyMetricsDeps): void {
  const labels = ['rule_id', 'verdict'];
  counter(
    'ciliate_policy_rule_connections_total',
    'New flows by the rule that decided them',
    labels,
    async (made) => {
      const connections = await datapath.readRuleConnections();
      for (const { id } of policy.rules([]))
        for (const [verdict, count] of Object.entries(connections.get(id) ?? NO_CONNECTIONS))
          made.inc({ rule_id: String(id), verdict }, count);
    },
  );
  counter('ciliate_policy_rule_requests_total', 'Requests by the rule that decided them', labels, (made) => {
    for (const { id } of policy.rules([]))
      for (const [verdict, count] of Object.entries(activity.requestsOf(id)))
        made.inc({ rule_id: String(id), verdict }, count);
  });
}
