import { type Cidr, cidrContains, formatCidr, ipFamily } from '../base/ip.ts';
import type { CidrGroup } from '../model/cidr-group.ts';
import { compileDnsPattern, dnsPatternText } from '../model/dns-pattern.ts';
import { isAllocatedIdentity } from '../model/identity.ts';
import { type Label, LabelKey, labelValue } from '../model/labels.ts';
import type { PolicyInventory } from '../model/policy-inventory.ts';
import { isEmptySelector, type LabelSelector, matchesSelector, selectorText } from '../model/selector.ts';
import type { CidrSpec, Entity, Peers, ServiceSpec } from './rule.ts';
import type { TraceParty } from './trace-types.ts';

export interface PeerContext {
  readonly clusterName: string;
  /** CIDR groups and services, as far as they are known. */
  readonly inventory: PolicyInventory;
}

/** Whether peers of an item hold for a party: by what of them, or why not. */
export interface PeerMatch {
  readonly matches: boolean;
  readonly reason: string;
}

const yes = (reason: string): PeerMatch => ({ matches: true, reason });
const no = (reason: string): PeerMatch => ({ matches: false, reason });

function shown(selector: LabelSelector): string {
  return isEmptySelector(selector) ? '{}' : selectorText(selector);
}

/** Whether a prefix lies within another. */
export function prefixWithin(inner: Cidr, outer: Cidr): boolean {
  return inner.length >= outer.length && cidrContains(outer, inner.bytes);
}

function isOutside(party: TraceParty): boolean {
  return party.prefix !== undefined;
}

/** The parts of a selector that labels do not satisfy. */
export function missingParts(selector: LabelSelector, labels: readonly Label[]): string {
  const parts = [
    ...selector.matchLabels.map((part) => ({ matchLabels: [part], matchExpressions: [] })),
    ...selector.matchExpressions.map((part) => ({ matchLabels: [], matchExpressions: [part] })),
  ];
  return parts
    .filter((part) => !matchesSelector(part, labels))
    .map(selectorText)
    .join(', ');
}

function endpointMatch(selectors: readonly LabelSelector[], party: TraceParty): PeerMatch {
  if (selectors.length === 0) return no('an empty list of peers selects nobody');
  const found = selectors.find(
    (selector) =>
      isEmptySelector(selector) || (party.identity !== 0 && matchesSelector(selector, party.labels)),
  );
  if (found !== undefined) return yes(`peer matches ${shown(found)}`);
  const lacking = selectors.map((selector) => missingParts(selector, party.labels));
  return no(`peer lacks ${lacking.join(' | ')}`);
}

const CLUSTER = ['host', 'remote-node', 'kube-apiserver', 'init', 'health', 'unmanaged', 'ingress'];

function entityHolds(entity: Entity, party: TraceParty, clusterName: string): boolean {
  if (entity === 'all') return true;
  if (entity === 'none' || party.identity === 0) return false;
  const names = party.labels.filter(({ source }) => source === 'reserved').map(({ key }) => key);
  if (entity === 'world') return names.some((name) => name.startsWith('world'));
  if (entity !== 'cluster') return names.includes(entity);
  if (names.some((name) => CLUSTER.includes(name))) return true;
  if (isOutside(party) || names.length > 0) return false;
  if (party.identity !== undefined && !isAllocatedIdentity(party.identity)) return false;
  return (labelValue(party.labels, 'k8s', LabelKey.cluster) ?? clusterName) === clusterName;
}

function entityMatch(entities: readonly Entity[], party: TraceParty, clusterName: string): PeerMatch {
  const found = entities.find((entity) => entityHolds(entity, party, clusterName));
  return found === undefined
    ? no(`peer is none of the entities ${entities.join(', ')}`)
    : yes(`peer is of the entity ${found}`);
}

/** Why prefixes cannot hold for a party, or undefined for one whose address counts. */
function notByPrefix(party: TraceParty): string | undefined {
  if (party.prefix !== undefined) return undefined;
  return party.labels.some(({ source, key }) => source === 'reserved' && key.startsWith('world'))
    ? "the peer's address is not known, and the rule asks for prefixes"
    : 'prefixes never match endpoints, hosts and nodes of the cluster';
}

interface Prefixes {
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
}

function prefixText({ cidr, except }: Prefixes): string {
  return `${formatCidr(cidr)}${except.length === 0 ? '' : ` except ${except.map(formatCidr).join(', ')}`}`;
}

function prefixMatch(sets: readonly Prefixes[], party: TraceParty): PeerMatch {
  const reason = notByPrefix(party);
  if (reason !== undefined || party.prefix === undefined) return no(reason ?? '');
  const own = party.prefix;
  for (const set of sets) {
    if (!prefixWithin(own, set.cidr)) continue;
    const except = set.except.find((one) => prefixWithin(own, one) || prefixWithin(one, own));
    if (except === undefined) return yes(`${formatCidr(own)} lies in ${formatCidr(set.cidr)}`);
  }
  return no(`${formatCidr(own)} is not within ${sets.map(prefixText).join(', ') || 'any prefix'}`);
}

function groupsOf(spec: CidrSpec, groups: readonly CidrGroup[]): readonly CidrGroup[] {
  if (spec.kind === 'group') return groups.filter(({ name }) => name === spec.name);
  if (spec.kind === 'group-selector')
    return groups.filter(({ labels }) => matchesSelector(spec.selector, labels));
  return [];
}

function cidrSetMatch(specs: readonly CidrSpec[], party: TraceParty, context: PeerContext): PeerMatch {
  const unknown = specs.filter(
    (spec) => spec.kind === 'group' && groupsOf(spec, context.inventory.cidrGroups).length === 0,
  );
  const sets = specs.flatMap((spec) => {
    if (spec.kind === 'cidr') return [spec];
    return groupsOf(spec, context.inventory.cidrGroups).flatMap(({ cidrs }) =>
      cidrs.map((cidr) => ({ cidr, except: spec.except })),
    );
  });
  const match = prefixMatch(sets, party);
  if (match.matches || unknown.length === 0) return match;
  const names = unknown.map((spec) => (spec.kind === 'group' ? spec.name : '')).join(', ');
  return no(`${match.reason}; the CIDR group ${names} is not known here`);
}

function serviceMatch(
  specs: readonly ServiceSpec[],
  party: TraceParty,
  { inventory }: PeerContext,
): PeerMatch {
  const wanted = inventory.services.filter((service) =>
    specs.some((spec) =>
      spec.kind === 'name'
        ? spec.name === service.name && spec.namespace === service.namespace
        : (spec.namespace === '' || spec.namespace === service.namespace) &&
          matchesSelector(spec.selector, service.labels),
    ),
  );
  if (wanted.length === 0) return no('none of the services that it names is known here');
  for (const { name, namespace, selector } of wanted) {
    const title = `${namespace}/${name}`;
    if (selector !== undefined) {
      const inside =
        party.identity !== 0 && labelValue(party.labels, 'k8s', LabelKey.podNamespace) === namespace;
      if (inside && matchesSelector(selector, party.labels)) return yes(`peer serves ${title}`);
      continue;
    }
    const addresses = inventory.addresses
      .filter((one) => one.service === name && one.namespace === namespace)
      .flatMap((one) => one.addresses);
    const sets = addresses.map((bytes) => ({
      cidr: { family: ipFamily(bytes), bytes, length: bytes.length * 8 },
      except: [],
    }));
    if (prefixMatch(sets, party).matches) return yes(`peer is an address of ${title}`);
  }
  return no(`peer serves none of ${wanted.map(({ namespace, name }) => `${namespace}/${name}`).join(', ')}`);
}

function fqdnMatch(peers: Peers & { readonly kind: 'fqdns' }, party: TraceParty): PeerMatch {
  const names = party.names ?? [];
  const texts = peers.names.map(dnsPatternText).join(', ');
  if (names.length === 0) return no(`no name of the peer was looked up, and the rule asks for ${texts}`);
  for (const pattern of peers.names) {
    const name = names.find(compileDnsPattern(pattern));
    if (name !== undefined) return yes(`name ${name} matches ${dnsPatternText(pattern)}`);
  }
  return no(`the names ${names.join(', ')} match none of ${texts}`);
}

function nodeMatch(selectors: readonly LabelSelector[], party: TraceParty): PeerMatch {
  const isNode = party.labels.some(({ source, key }) => source === 'reserved' && key === 'remote-node');
  if (!isNode) return no('peer is no other node');
  const found = selectors.find((selector) => matchesSelector(selector, party.labels));
  return found === undefined
    ? no(`node lacks ${selectors.map((selector) => missingParts(selector, party.labels)).join(' | ')}`)
    : yes(`node matches ${shown(found)}`);
}

/** Whether the peers of an item hold for a party; undefined is everybody. */
export function matchPeers(peers: Peers | undefined, party: TraceParty, context: PeerContext): PeerMatch {
  if (peers === undefined) return yes('every peer');
  switch (peers.kind) {
    case 'endpoints':
      return endpointMatch(peers.selectors, party);
    case 'entities':
      return entityMatch(peers.entities, party, context.clusterName);
    case 'cidrs':
      return prefixMatch(
        peers.cidrs.map((cidr) => ({ cidr, except: [] })),
        party,
      );
    case 'cidr-sets':
      return cidrSetMatch(peers.sets, party, context);
    case 'services':
      return serviceMatch(peers.services, party, context);
    case 'fqdns':
      return fqdnMatch(peers, party);
    case 'nodes':
      return nodeMatch(peers.selectors, party);
  }
}
