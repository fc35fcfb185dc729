import { type Datapath, NO_CONNECTIONS, UNCOUNTED_RULES } from '../datapath/types.ts';
import type { MetricSet } from './metric-set.ts';
import type { PolicyActivity } from './policy-activity.ts';
import type { PolicyManager } from './policy-manager.ts';

export interface PolicyMetricsDeps {
  readonly datapath: Datapath;
  readonly policy: PolicyManager;
  readonly activity: PolicyActivity;
}

/** Adds what the rules are worth. */
export function addPolicyMetrics(set: MetricSet, { policy, activity, datapath }: PolicyMetricsDeps): void {
  set.gauge('cilium_policy', 'Rules in the repository', (made) => made.set(policy.ruleCount));
  set.gauge('cilium_policy_max_revision', 'Revision of the rules', (made) => made.set(policy.revision));
  set.counter('cilium_policy_import_errors_total', 'Imports of rules that were refused', [], (made) =>
    made.inc(policy.importErrors),
  );
  set.counter('cilium_policy_change_total', 'Changes of the rules by outcome', ['outcome'], (made) => {
    made.inc({ outcome: 'success' }, policy.changes);
    made.inc({ outcome: 'failure' }, policy.importErrors);
  });
  set.gauge('cilium_policy_selector_cache_selectors', 'Selectors of peers in use', (made) =>
    made.set(policy.selectors().length),
  );
  set.gauge('cilium_fqdn_selectors', 'Names and patterns of toFQDNs in force', (made) =>
    made.set(policy.fqdnSelectors().length),
  );
  set.gauge('ciliate_local_identities', 'Identities of prefixes and names on this node', (made) =>
    made.set(policy.localIdentities().length),
  );
  const labels = ['rule_id', 'verdict'];
  set.counter(
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
  set.counter(
    'ciliate_policy_rule_connections_uncounted_total',
    'New flows of rules that found no room to be counted',
    ['verdict'],
    async (made) => {
      const uncounted = (await datapath.readRuleConnections()).get(UNCOUNTED_RULES) ?? NO_CONNECTIONS;
      for (const [verdict, count] of Object.entries(uncounted)) made.inc({ verdict }, count);
    },
  );
  set.counter(
    'ciliate_policy_rule_requests_total',
    'Requests by the rule that decided them',
    labels,
    (made) => {
      for (const { id } of policy.rules([]))
        for (const [verdict, count] of Object.entries(activity.requestsOf(id)))
          made.inc({ rule_id: String(id), verdict }, count);
    },
  );
}
