import type { AgentClient } from '../../src/api/client.ts';
import type * as Api from '../../src/api/schema.ts';
import { UsageError } from '../../src/base/errors.ts';
import { formatIp, parseCidr } from '../../src/base/ip.ts';
import { foldDnsName } from '../../src/model/dns-pattern.ts';
import { type Identity, isOutsideIdentity } from '../../src/model/identity.ts';
import { formatLabels, labelSet, parseLabels } from '../../src/model/labels.ts';
import { mergeInventory, type PolicyInventory } from '../../src/model/policy-inventory.ts';
import {
  formatPolicyObject,
  objectOfRule,
  objectsOf,
  withoutObjects,
} from '../../src/model/policy-object.ts';
import {
  type ImpactFlow,
  type ImpactInput,
  type ImpactPeer,
  type PolicySnapshot,
  Repository,
  type TraceL4,
} from '../../src/policy/index.ts';
import { RequestJudges } from './impact-requests.ts';
import type { PolicyChoice } from './policy-choice.ts';
import { namedPort } from './trace-party.ts';
import { rulesOfAgent, settingsOf, type TraceRules } from './trace-rules.ts';

/** What would be done to the rules of the agent. */
export interface PolicyChange {
  /** Rules that would be imported, each in the place of those with the same labels. */
  readonly added: TraceRules;
  /** What would be deleted first; undefined: nothing. */
  readonly deleted: PolicyChoice | undefined;
}

function identityOf(view: Api.Identity | undefined): Identity | undefined {
  if (view?.id === undefined) return undefined;
  return { id: view.id, labels: labelSet(parseLabels(view.labels ?? [])) };
}

function l4Of({ protocol, 'destination-port': port }: Api.PolicyFlow): TraceL4 {
  if (protocol === 1) return { kind: 'icmp', family: 4, type: port };
  if (protocol === 58) return { kind: 'icmp', family: 6, type: port };
  return { kind: 'port', protocol, port };
}

/** `10.0.0.1:80`, `[fd00::1]:80` or an address alone as a prefix of one address. */
function hostPrefix(text: string | undefined) {
  const address = /^\[(.*)\](?::\d+)?$/.exec(text ?? '')?.[1] ?? (text ?? '').replace(/^([^:]*):\d+$/, '$1');
  if (address === '') return undefined;
  return parseCidr(`${address}/${address.includes(':') ? 128 : 32}`);
}

/** What is known of peers. */
interface Peers {
  readonly identities: ReadonlyMap<number, Identity>;
  /** Address -> the names that it was looked up by. */
  readonly names: ReadonlyMap<string, readonly string[]>;
}

/** @returns undefined when nobody has the identity any more */
type SeenPeer = Pick<Api.PolicyFlow, 'remote-identity' | 'direction' | 'source' | 'destination'>;

function peerOf(flow: SeenPeer, { identities, names }: Peers): ImpactPeer | undefined {
  const id = flow['remote-identity'];
  const address = flow.direction === 'ingress' ? flow.source : flow.destination;
  const host = isOutsideIdentity(id) ? hostPrefix(address) : undefined;
  if (host !== undefined) {
    const text = formatIp(host.bytes);
    return { title: [text, ...(names.get(text) ?? []).slice(0, 1)].join(' '), identity: id, address: host };
  }
  if (id !== 0 && !identities.has(id)) return undefined;
  const labels = formatLabels(identities.get(id)?.labels ?? []).join(',');
  return { title: labels === '' ? (address ?? `identity ${id}`) : labels, identity: id };
}

/** What an agent of another version says beside these is not for us. */
function directionOf(seen: SeenPeer): 'ingress' | 'egress' | undefined {
  return (['ingress', 'egress'] as const).find((one) => one === seen.direction);
}

/** The kinds of flows, and of requests, of endpoints that are there. */
function flowsOf(seen: Api.PolicyFlows, endpoints: ReadonlySet<number>, peers: Peers): readonly ImpactFlow[] {
  const judges = new RequestJudges();
  const of = (one: Api.PolicyFlow | Api.PolicyRequest, more: Pick<ImpactFlow, 'l4' | 'request'>) => {
    const { endpoint, count } = one;
    const direction = directionOf(one);
    if (!endpoints.has(endpoint) || direction === undefined) return [];
    return [
      { endpoint, direction, peer: peerOf(one, peers), count, lastSeen: one['last-seen'] ?? '', ...more },
    ];
  };
  return [
    ...(seen.flows ?? []).flatMap((flow) => of(flow, { l4: l4Of(flow) })),
    ...(seen.requests ?? []).flatMap((one) => {
      const request = judges.of(one);
      const protocol = one.kind === 'dns' ? 17 : 6;
      const l4 = { kind: 'port', protocol, port: one['destination-port'] } as const;
      return request === undefined ? [] : of(one, { l4, request });
    }),
  ];
}

function namesOf(lookups: readonly Api.DNSLookup[]): Peers['names'] {
  const names = new Map<string, string[]>();
  for (const { fqdn, ips } of lookups) {
    const name = foldDnsName(fqdn ?? '');
    for (const address of ips ?? []) {
      const known = names.get(address) ?? [];
      if (!known.includes(name)) names.set(address, [...known, name]);
    }
  }
  return names;
}

/** Takes what is chosen out of the rules. @throws UsageError code POLICY_ABSENT when there is nothing of it */
function deleteFrom(repository: Repository, choice: PolicyChoice, inventory: PolicyInventory): void {
  if (choice.kind === 'labels') {
    const { removed } = repository.delete(parseLabels(choice.words, 'any', 'any'));
    if (removed.length > 0) return;
    throw new UsageError(`no rule has the labels ${choice.words.join(', ')}`, {
      code: 'POLICY_ABSENT',
      hint: '`ciliate policy rules -o json` lists those that there are',
    });
  }
  const has = new Set(objectsOf(inventory).map(formatPolicyObject));
  for (const name of choice.refs.map(formatPolicyObject)) {
    const ids = repository.snapshot().rules.flatMap(({ id, rule }) => {
      const object = objectOfRule(rule.labels);
      return object !== undefined && formatPolicyObject(object) === name ? [id] : [];
    });
    if (ids.length === 0 && !has.has(name))
      throw new UsageError(`there is no ${name}`, { code: 'POLICY_ABSENT' });
    repository.remove(new Set(ids));
  }
}

function snapshots(before: TraceRules, change: PolicyChange): readonly [PolicySnapshot, PolicySnapshot] {
  const repository = Repository.empty();
  repository.add(before.rules.map(({ rule }) => rule));
  const now = repository.snapshot();
  if (change.deleted !== undefined) deleteFrom(repository, change.deleted, before.inventory);
  repository.upsert(change.added.rules.map(({ rule }) => rule));
  return [now, repository.snapshot()];
}

/** Everything that the impact of a change is worked out from, as the agent has it now. */
export async function impactInput(agent: AgentClient, change: PolicyChange): Promise<ImpactInput> {
  const [rules, settings, endpointViews, identityViews, flows, lookups] = await Promise.all([
    rulesOfAgent(agent),
    settingsOf(agent),
    agent.endpoints(),
    agent.identities(),
    agent.policyFlows(),
    agent.fqdnCache(),
  ]);
  const identities = new Map(
    identityViews.flatMap((view) => identityOf(view) ?? []).map((one) => [one.id, one]),
  );
  const endpoints = endpointViews.flatMap(({ id, status }) => {
    const identity = identityOf(status?.identity);
    if (id === undefined || identity === undefined) return [];
    return [{ id, identity, namedPorts: (status?.namedPorts ?? []).flatMap(namedPort) }];
  });
  const [now, then] = snapshots(rules, change);
  const { deleted, added } = change;
  const names = namesOf(lookups);
  const kept = deleted?.kind === 'objects' ? withoutObjects(rules.inventory, deleted.refs) : rules.inventory;
  return {
    before: { snapshot: now, inventory: rules.inventory },
    after: { snapshot: then, inventory: mergeInventory(kept, added.inventory) },
    endpoints,
    identities: [...identities.values()],
    names,
    flows: flowsOf(flows, new Set(endpoints.map(({ id }) => id)), { identities, names }),
    options: settings,
  };
}
