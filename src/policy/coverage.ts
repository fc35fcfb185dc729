import { type Cidr, cidrContains } from '../base/ip.ts';
import {
  isEmptySelector,
  type LabelSelector,
  type MatchExpression,
  type MatchLabel,
  type SelectorKey,
} from '../model/selector.ts';
import { peersJson } from './peer-json.ts';
import {
  type CidrSpec,
  ENTITIES,
  type Entity,
  type Peers,
  type PortRule,
  type PortSpec,
  type RuleItem,
} from './rule.ts';

/*
 * What is contained in what, as far as the texts show it: "no" may mean "not known". Only `yes` is relied on.
 */

/** Whether whatever has `narrow`'s key has `wide`'s. */
function keyImplied(wide: SelectorKey, narrow: SelectorKey): boolean {
  return wide.key === narrow.key && (wide.source === 'any' || wide.source === narrow.source);
}

function labelImplied(wide: MatchLabel, narrow: LabelSelector): boolean {
  return (
    narrow.matchLabels.some((part) => keyImplied(wide, part) && part.value === wide.value) ||
    narrow.matchExpressions.some(
      (part) =>
        part.operator === 'In' &&
        keyImplied(wide, part) &&
        part.values.every((value) => value === wide.value),
    )
  );
}

const sameKey = (a: SelectorKey, b: SelectorKey): boolean => a.source === b.source && a.key === b.key;

const IMPLIED: Record<
  MatchExpression['operator'],
  (wide: MatchExpression, narrow: LabelSelector) => boolean
> = {
  In: (wide, narrow) =>
    narrow.matchLabels.some((part) => keyImplied(wide, part) && wide.values.includes(part.value)) ||
    narrow.matchExpressions.some(
      (part) =>
        part.operator === 'In' &&
        keyImplied(wide, part) &&
        part.values.every((value) => wide.values.includes(value)),
    ),
  NotIn: (wide, narrow) =>
    narrow.matchExpressions.some(
      (part) =>
        sameKey(wide, part) &&
        (part.operator === 'DoesNotExist' ||
          (part.operator === 'NotIn' && wide.values.every((value) => part.values.includes(value)))),
    ),
  Exists: (wide, narrow) =>
    narrow.matchLabels.some((part) => keyImplied(wide, part)) ||
    narrow.matchExpressions.some(
      (part) => (part.operator === 'In' || part.operator === 'Exists') && keyImplied(wide, part),
    ),
  DoesNotExist: (wide, narrow) =>
    narrow.matchExpressions.some((part) => part.operator === 'DoesNotExist' && sameKey(wide, part)),
};

/** Whether every label set that `narrow` selects is one that `wide` selects. */
export function selectorCovers(wide: LabelSelector, narrow: LabelSelector): boolean {
  return (
    wide.matchLabels.every((part) => labelImplied(part, narrow)) &&
    wide.matchExpressions.every((part) => IMPLIED[part.operator](part, narrow))
  );
}

const WITHIN: Readonly<Partial<Record<Entity, readonly Entity[]>>> = {
  world: ['world-ipv4', 'world-ipv6'],
  cluster: ['host', 'remote-node', 'kube-apiserver', 'init', 'health', 'unmanaged', 'ingress'],
};

function cidrCovers(wide: Cidr, narrow: Cidr): boolean {
  return wide.length <= narrow.length && cidrContains(wide, narrow.bytes);
}

function apart(a: Cidr, b: Cidr): boolean {
  return !cidrCovers(a, b) && !cidrCovers(b, a);
}

interface PrefixPart {
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
}

function prefixCovers(wide: PrefixPart, narrow: PrefixPart): boolean {
  return (
    cidrCovers(wide.cidr, narrow.cidr) &&
    wide.except.every(
      (hole) => apart(hole, narrow.cidr) || narrow.except.some((other) => cidrCovers(other, hole)),
    )
  );
}

/** One alternative of an item's peers; `text` names what can only be compared as it is written. */
type Atom =
  | { readonly kind: 'every' }
  | { readonly kind: 'selector'; readonly selector: LabelSelector }
  | { readonly kind: 'entity'; readonly entity: Entity }
  | ({ readonly kind: 'prefix' } & PrefixPart)
  | { readonly kind: 'text'; readonly text: string };

function cidrSpecAtom(spec: CidrSpec): Atom {
  if (spec.kind === 'cidr') return { kind: 'prefix', cidr: spec.cidr, except: spec.except };
  return { kind: 'text', text: JSON.stringify(peersJson({ kind: 'cidr-sets', sets: [spec] }, 'ingress')) };
}

function textAtoms(peers: Peers, one: readonly Peers[]): Atom[] {
  return one.map((part) => ({
    kind: 'text',
    text: `${peers.kind} ${JSON.stringify(peersJson(part, 'egress'))}`,
  }));
}

function atomsOf(peers: Peers): Atom[] {
  switch (peers.kind) {
    case 'endpoints':
      return peers.selectors.map((selector) =>
        isEmptySelector(selector) ? { kind: 'every' } : { kind: 'selector', selector },
      );
    case 'entities':
      return peers.entities
        .filter((entity) => entity !== 'none')
        .map((entity) => (entity === 'all' ? { kind: 'every' } : { kind: 'entity', entity }));
    case 'cidrs':
      return peers.cidrs.map((cidr) => ({ kind: 'prefix', cidr, except: [] }));
    case 'cidr-sets':
      return peers.sets.map(cidrSpecAtom);
    case 'services':
      return textAtoms(
        peers,
        peers.services.map((service) => ({ ...peers, services: [service] })),
      );
    case 'fqdns':
      return textAtoms(
        peers,
        peers.names.map((name) => ({ ...peers, names: [name] })),
      );
    case 'nodes':
      return textAtoms(
        peers,
        peers.selectors.map((selector) => ({ ...peers, selectors: [selector] })),
      );
  }
}

function atomCovers(wide: Atom, narrow: Atom): boolean {
  if (wide.kind === 'every') return true;
  if (wide.kind === 'entity') {
    if (narrow.kind === 'prefix') return wide.entity === 'world';
    return (
      narrow.kind === 'entity' &&
      (wide.entity === narrow.entity || WITHIN[wide.entity]?.includes(narrow.entity) === true)
    );
  }
  if (wide.kind === 'selector')
    return narrow.kind === 'selector' && selectorCovers(wide.selector, narrow.selector);
  if (wide.kind === 'prefix') return narrow.kind === 'prefix' && prefixCovers(wide, narrow);
  return narrow.kind === 'text' && wide.text === narrow.text;
}

/** Items do not change, and each is compared with many. */
const atomsByItem = new WeakMap<RuleItem, readonly Atom[]>();

/** Without peers an item is for everybody if it has ports or types, else for nobody. */
function itemAtoms(item: RuleItem): readonly Atom[] {
  const known = atomsByItem.get(item);
  if (known !== undefined) return known;
  const { peers, ports, icmps } = item;
  const everybody: readonly Atom[] = ports === undefined && icmps === undefined ? [] : [{ kind: 'every' }];
  const atoms = peers === undefined ? everybody : atomsOf(peers);
  atomsByItem.set(item, atoms);
  return atoms;
}

const labelMark = (key: string, value: string): string => `label ${key}=${value}`;
const ANY_LABEL = 'labels';

/** Under which a selector is found by those that may be contained in it. */
export function selectorMark({ matchLabels: [first] }: LabelSelector): string {
  return first === undefined ? ANY_LABEL : labelMark(first.key, first.value);
}

/** The marks of all selectors that may contain this one: each has a label that it has too, or none at all. */
export function marksOfWider({ matchLabels, matchExpressions }: LabelSelector): readonly string[] {
  const listed = matchExpressions.filter(({ operator }) => operator === 'In');
  return [
    ANY_LABEL,
    ...matchLabels.map(({ key, value }) => labelMark(key, value)),
    ...listed.flatMap(({ key, values }) => values.map((value) => labelMark(key, value))),
  ];
}

const MARK: { readonly [K in Atom['kind']]: (atom: Extract<Atom, { kind: K }>) => string } = {
  every: () => 'every',
  selector: ({ selector }) => selectorMark(selector),
  entity: ({ entity }) => `entity ${entity}`,
  prefix: () => 'prefix',
  text: ({ text }) => text,
};

const markOf = <K extends Atom['kind']>(atom: Extract<Atom, { kind: K }>): string =>
  MARK[atom.kind as K](atom);

function marksOfWiderAtoms(atom: Atom): readonly string[] {
  switch (atom.kind) {
    case 'selector':
      return ['every', ...marksOfWider(atom.selector)];
    case 'prefix':
      return ['every', 'prefix', 'entity world'];
    case 'entity': {
      const around = ENTITIES.filter((wide) => WITHIN[wide]?.includes(atom.entity) === true);
      return ['every', ...[atom.entity, ...around].map((entity) => `entity ${entity}`)];
    }
    default:
      return ['every', markOf(atom)];
  }
}

/** Under which an item is found by those that may be contained in it. */
export function itemMarks(item: RuleItem): readonly string[] {
  return [...new Set(itemAtoms(item).map(markOf))];
}

/** The marks of all items that may contain this one, which names a peer. */
export function marksOfWiderItems(item: RuleItem): readonly string[] {
  const [first] = itemAtoms(item);
  return first === undefined ? [] : marksOfWiderAtoms(first);
}

function portCovers(wide: PortSpec, narrow: PortSpec): boolean {
  if (wide.protocol !== 'ANY' && wide.protocol !== narrow.protocol) return false;
  if (wide.port === 0) return true;
  if (typeof wide.port === 'string' || typeof narrow.port === 'string') return wide.port === narrow.port;
  const last = (spec: PortSpec, port: number): number => spec.endPort ?? port;
  return narrow.port !== 0 && wide.port <= narrow.port && last(narrow, narrow.port) <= last(wide, wide.port);
}

/**
 * Without L7 rules everything passes; else only the same rules are known to let as much pass. Names of TLS servers close
 * the port whatever else allows: no other rule says that.
 */
function l7Covers(wide: PortRule, narrow: PortRule): boolean {
  const text = ({ l7, serverNames }: PortRule): string => JSON.stringify([l7, serverNames]);
  const open = wide.l7 === undefined && wide.serverNames === undefined && narrow.serverNames === undefined;
  return open || text(wide) === text(narrow);
}

function l4Covers(wide: RuleItem, narrow: RuleItem): boolean {
  if (wide.ports === undefined && wide.icmps === undefined) return true;
  const { ports = [], icmps = [] } = wide;
  if (narrow.ports === undefined && narrow.icmps === undefined) return false;
  const portsFit = (narrow.ports ?? []).every((rule) =>
    rule.ports.every((spec) =>
      ports.some((other) => l7Covers(other, rule) && other.ports.some((part) => portCovers(part, spec))),
    ),
  );
  const typesFit = (narrow.icmps ?? []).every(({ family, type }) =>
    icmps.some((other) => other.family === family && other.type === type),
  );
  return portsFit && typesFit;
}

/** Whether the item names any peer at all. */
export function selectsPeers(item: RuleItem): boolean {
  return itemAtoms(item).length > 0;
}

/** Whether every peer of `narrow` is one of `wide`. */
export function peersCover(wide: RuleItem, narrow: RuleItem): boolean {
  const atoms = itemAtoms(wide);
  return itemAtoms(narrow).every((part) => atoms.some((atom) => atomCovers(atom, part)));
}

/** Whether whatever `narrow` is for, `wide` is for too. */
export function itemCovers(wide: RuleItem, narrow: RuleItem): boolean {
  return peersCover(wide, narrow) && l4Covers(wide, narrow);
}
