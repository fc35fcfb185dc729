import { formatLabels } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import type { Grant } from './compile-rule.ts';
import type { L4Match } from './l4.ts';
import { peerSelectorApiText } from './peer-selector.ts';
import type { ResolvedPolicy } from './resolve.ts';

/** One port of a policy with who may reach it and by which rules: `PolicyRule` of the API. */
export interface L4RuleSummary {
  /** JSON text: `{"port":80,"protocol":"TCP","l7-rules":[{"<selector>":null}]}`. */
  readonly rule: string;
  readonly 'derived-from-rules': readonly (readonly string[])[];
  readonly 'rules-by-selector': Readonly<Record<string, readonly (readonly string[])[]>>;
}

export interface L4Summary {
  readonly ingress: readonly L4RuleSummary[];
  readonly egress: readonly L4RuleSummary[];
}

interface Filter {
  readonly match: L4Match;
  /** Selector text -> labels of the rules, each set once. */
  readonly bySelector: Map<string, Map<string, readonly string[]>>;
}

const addOnce = (sets: Map<string, readonly string[]>, labels: readonly string[]): void => {
  sets.set(labels.join('\n'), labels);
};

function collect(filters: Map<string, Filter>, grant: Grant): void {
  const selector = peerSelectorApiText(grant.peer);
  const labels = formatLabels(grant.derivedFrom);
  for (const match of grant.l4) {
    const text = `${match.port}-${match.endPort ?? match.port}/${match.protocolName}`;
    const filter = filters.get(text) ?? { match, bySelector: new Map() };
    filters.set(text, filter);
    const sets = filter.bySelector.get(selector) ?? new Map<string, readonly string[]>();
    filter.bySelector.set(selector, sets);
    addOnce(sets, labels);
  }
}

/** JSON as Go writes it: characters that matter to HTML are escaped. */
function goJson(value: unknown): string {
  const escapes: Record<string, string> = { '&': '\\u0026', '<': '\\u003c', '>': '\\u003e' };
  return JSON.stringify(value).replace(/[&<>]/g, (character) => escapes[character] ?? character);
}

function summarise({ match, bySelector }: Filter): L4RuleSummary {
  const all = new Map<string, readonly string[]>();
  for (const sets of bySelector.values()) for (const labels of sets.values()) addOnce(all, labels);
  const selectors = [...bySelector.keys()].sort();
  const rule = {
    port: match.port,
    ...(match.endPort !== undefined && { endPort: match.endPort }),
    protocol: match.protocolName,
    'l7-rules': selectors.map((selector) => ({ [selector]: null })),
  };
  return {
    rule: goJson(rule),
    'derived-from-rules': [...all.values()],
    'rules-by-selector': Object.fromEntries(
      selectors.map((selector) => [selector, [...(bySelector.get(selector)?.values() ?? [])]]),
    ),
  };
}

function summariseDirection(policy: ResolvedPolicy, direction: Direction): readonly L4RuleSummary[] {
  if (!policy.enforcement[direction]) return [];
  const filters = new Map<string, Filter>();
  for (const grant of policy.grants) {
    if (grant.direction === direction && grant.ruleId !== 0) collect(filters, grant);
  }
  return [...filters.values()]
    .sort((a, b) => a.match.port - b.match.port || a.match.protocol - b.match.protocol)
    .map(summarise);
}

/** `EndpointPolicy.l4` of the API: the ports that rules name, direction by direction; empty where nothing is enforced. */
export function l4Summary(policy: ResolvedPolicy): L4Summary {
  return {
    ingress: summariseDirection(policy, 'ingress'),
    egress: summariseDirection(policy, 'egress'),
  };
}
