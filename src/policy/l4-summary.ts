import { formatLabels } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import type { Grant } from './compile-rule.ts';
import type { L4Match } from './l4.ts';
import { peerSelectorApiText } from './peer-selector.ts';
import type { ResolvedPolicy } from './resolve.ts';
import { l7Json } from './rule-json.ts';

/** One port of a policy with who may reach it and by which rules: `PolicyRule` of the API. */
export interface L4RuleSummary {
  /** JSON text: `{"port":80,"protocol":"TCP","l7-rules":[{"<selector>":null},{"<selector>":{"http":[...]}}]}`. */
  readonly rule: string;
  readonly 'derived-from-rules': readonly (readonly string[])[];
  readonly 'rules-by-selector': Readonly<Record<string, readonly (readonly string[])[]>>;
}

export interface L4Summary {
  readonly ingress: readonly L4RuleSummary[];
  readonly egress: readonly L4RuleSummary[];
}

/** What one selector may do on a port. */
interface SelectorUse {
  /** Labels of the rules, each set once. */
  readonly rules: Map<string, readonly string[]>;
  denied: boolean;
  /** By kind, what requests must look like; an empty object allows every request. */
  readonly l7: Map<string, readonly object[]>;
  /** A rule allows everything. */
  plain: boolean;
}

interface Filter {
  readonly match: L4Match;
  readonly bySelector: Map<string, SelectorUse>;
}

const addOnce = (sets: Map<string, readonly string[]>, labels: readonly string[]): void => {
  sets.set(labels.join('\n'), labels);
};

function useOf(filter: Filter, selector: string): SelectorUse {
  const use = filter.bySelector.get(selector) ?? {
    rules: new Map(),
    denied: false,
    l7: new Map(),
    plain: false,
  };
  filter.bySelector.set(selector, use);
  return use;
}

function note(use: SelectorUse, { verdict, l7, l7Open }: Grant): void {
  use.denied ||= verdict.kind === 'deny';
  use.plain ||= verdict.kind === 'allow';
  if (l7 === undefined) return;
  for (const [kind, rules] of Object.entries(l7Json(l7))) {
    const open = l7Open === true ? [{}] : [];
    use.l7.set(kind, [...(use.l7.get(kind) ?? []), ...rules, ...open]);
  }
}

function collect(filters: Map<string, Filter>, grant: Grant): void {
  const selector = peerSelectorApiText(grant.peer);
  for (const match of grant.l4) {
    const { port, endPort, portName, protocolName } = match;
    const text = `${port}-${endPort ?? port}/${protocolName} ${portName ?? ''}`;
    const filter = filters.get(text) ?? { match, bySelector: new Map() };
    filters.set(text, filter);
    const use = useOf(filter, selector);
    addOnce(use.rules, formatLabels(grant.derivedFrom));
    note(use, grant);
  }
}

/** `null`: whatever is sent there. Where a rule allows everything beside others that judge, every request passes. */
function useJson({ denied, l7, plain }: SelectorUse): object | null {
  if (denied) return { isDeny: true };
  if (l7.size === 0) return null;
  return Object.fromEntries([...l7].map(([kind, rules]) => [kind, plain ? [...rules, {}] : rules]));
}

/** JSON as Go writes it: characters that matter to HTML are escaped. */
function goJson(value: unknown): string {
  const escapes: Record<string, string> = { '&': '\\u0026', '<': '\\u003c', '>': '\\u003e' };
  return JSON.stringify(value).replace(/[&<>]/g, (character) => escapes[character] ?? character);
}

function summarise({ match, bySelector }: Filter): L4RuleSummary {
  const uses = [...bySelector].sort(([a], [b]) => (a < b ? -1 : 1));
  const all = new Map<string, readonly string[]>();
  for (const [, { rules }] of uses) for (const labels of rules.values()) addOnce(all, labels);
  const rule = {
    port: match.port,
    ...(match.endPort !== undefined && { endPort: match.endPort }),
    ...(match.portName !== undefined && { 'port-name': match.portName }),
    protocol: match.protocolName,
    'l7-rules': uses.map(([selector, use]) => ({ [selector]: useJson(use) })),
  };
  return {
    rule: goJson(rule),
    'derived-from-rules': [...all.values()],
    'rules-by-selector': Object.fromEntries(
      uses.map(([selector, { rules }]) => [selector, [...rules.values()]]),
    ),
  };
}

function summariseDirection(policy: ResolvedPolicy, direction: Direction): readonly L4RuleSummary[] {
  const filters = new Map<string, Filter>();
  for (const grant of policy.grants) {
    if (grant.direction === direction && grant.ruleId !== 0) collect(filters, grant);
  }
  return [...filters.values()]
    .sort((a, b) => a.match.port - b.match.port || a.match.protocol - b.match.protocol)
    .map(summarise);
}

/** `EndpointPolicy.l4` of the API: the ports that rules name, direction by direction; empty where no rule has a say. */
export function l4Summary(policy: ResolvedPolicy): L4Summary {
  return {
    ingress: summariseDirection(policy, 'ingress'),
    egress: summariseDirection(policy, 'egress'),
  };
}
