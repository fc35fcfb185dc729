import type { AgentClient } from '../../src/api/client.ts';
import type * as Api from '../../src/api/schema.ts';
import { SourceError } from '../../src/api/source-error.ts';
import { UsageError } from '../../src/base/errors.ts';
import { LabelKey, labelSet } from '../../src/model/labels.ts';
import { EMPTY_INVENTORY, mergeInventory, type PolicyInventory } from '../../src/model/policy-inventory.ts';
import {
  type EnforcementMode,
  formatProblems,
  lacksNamespace,
  latestObjects,
  OWN_DOCUMENT_LIMITS,
  type ParsedPolicy,
  type ParsePolicyOptions,
  type PolicyText,
  parsePolicy,
  type TraceParty,
  type TraceRule,
} from '../../src/policy/index.ts';

/** Rules with where each stands, and what they name beside endpoints. */
export interface TraceRules {
  readonly rules: readonly TraceRule[];
  readonly inventory: PolicyInventory;
}

/** What decides beside the rules. */
export interface TraceSettings {
  readonly mode: EnforcementMode;
  readonly allowLocalhost: 'always' | 'policy';
  readonly clusterName: string;
}

/** Those of an agent that says nothing else, and of a trace without one. */
const DEFAULT_SETTINGS: TraceSettings = { mode: 'default', allowLocalhost: 'always', clusterName: 'default' };

/** @throws UsageError POLICY_INVALID with every error of every text */
export function parseTexts(
  texts: readonly PolicyText[],
  namespace: string,
  limits: ParsePolicyOptions['limits'] = {},
): readonly ParsedPolicy[] {
  const parsed = texts.map(({ file, text }) => parsePolicy(text, { file, namespace, limits }));
  const errors = parsed.flatMap((one) => one.errors);
  if (errors.length === 0) return parsed;
  throw new UsageError(`the policy is invalid:\n${formatProblems(errors)}`, { code: 'POLICY_INVALID' });
}

/** The rules of policy files. */
export function rulesOfTexts(texts: readonly PolicyText[], namespace: string): TraceRules {
  const parsed = parseTexts(texts, namespace);
  const placed = parsed.flatMap((one, i) =>
    one.rules.map((rule) => ({ ...rule, file: texts[i]?.file ?? '' })),
  );
  return {
    rules: latestObjects(placed).rules.map(({ rule, file, line }) => ({ rule, place: `${file}:${line}` })),
    inventory: parsed.reduce<PolicyInventory>(
      (all, one) => mergeInventory(all, one.inventory),
      EMPTY_INVENTORY,
    ),
  };
}

/** The rules that an agent has; their numbers too when it tells them, which a Cilium agent does not. */
export async function rulesOfAgent(agent: AgentClient): Promise<TraceRules> {
  const [policy, numbered, objects] = await Promise.all([
    agent.policy(),
    agent.policyRules().catch((error: unknown) => absent(error, [])),
    agent.policyObjects().catch((error: unknown) => absent<Api.PolicyObjects>(error, {})),
  ]);
  const [parsed, named] = parseTexts(
    [
      { file: 'the rules of the agent', text: policy.policy ?? '[]' },
      { file: 'the groups and services of the agent', text: objects.objects ?? '[]' },
    ],
    'default',
    OWN_DOCUMENT_LIMITS,
  );
  const rules = parsed?.rules ?? [];
  const numbers = numbered.map(({ id }) => id).filter((id) => id !== 0);
  const ids = numbers.length === rules.length ? numbers : [];
  return {
    rules: rules.map(({ rule }, i) => ({ rule, id: ids[i], place: `number ${i + 1} of policy get` })),
    inventory: named?.inventory ?? EMPTY_INVENTORY,
  };
}

/** What another agent than ours does not serve. */
function absent<T>(error: unknown, none: T): T {
  if (error instanceof SourceError && error.code === 'NOT_FOUND') return none;
  throw error;
}

const MODES: Readonly<Record<string, EnforcementMode>> = {
  default: 'default',
  always: 'always',
  never: 'never',
};

/** The settings of an agent that bear on verdicts. */
export async function settingsOf(agent: AgentClient | undefined): Promise<TraceSettings> {
  const config = await agent?.config();
  const options: Readonly<Record<string, unknown>> = config?.status?.daemonConfigurationMap ?? {};
  const realized = config?.status?.realized?.['policy-enforcement'] ?? '';
  const name = options['cluster-name'];
  return {
    mode: MODES[realized] ?? DEFAULT_SETTINGS.mode,
    allowLocalhost: options['allow-localhost'] === 'policy' ? 'policy' : DEFAULT_SETTINGS.allowLocalhost,
    clusterName: typeof name === 'string' && name !== '' ? name : DEFAULT_SETTINGS.clusterName,
  };
}

/** Labels that somebody wrote, put into a namespace where they name none and rules select by it; a note says so. */
export function withNamespace(
  party: TraceParty,
  from: { readonly rules: readonly TraceRule[]; readonly namespace: string; readonly notes: string[] },
): TraceParty {
  if (party.identity !== undefined || !lacksNamespace(party.labels, from.rules)) return party;
  const label = { source: 'k8s', key: LabelKey.podNamespace, value: from.namespace };
  from.notes.push(`${party.title} names no namespace: taken as of ${from.namespace}`);
  return { ...party, labels: labelSet([...party.labels, label]) };
}
