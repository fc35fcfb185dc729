import type { FaultKind, FaultPlace } from '../../model/health.ts';
import type { Claim } from './claims.ts';

/** From the gravest: one place has one verdict, and a lesser fault is what follows from a graver one. */
const GRAVITY: readonly FaultKind[] = [
  'node-down',
  'stack-hung',
  'route-missing',
  'nic-drop',
  'policy-drop',
  'drop',
  'mtu-black-hole',
  'canary-open',
  'loss',
  'agent-hung',
  'http-filtered',
  'icmp-filtered',
  'echo-filtered',
  'slow',
];

export function gravityOf(fault: FaultKind): number {
  const at = GRAVITY.indexOf(fault);
  return at < 0 ? GRAVITY.length : at;
}

/**
 * Between two nodes what is known by its reason explains what is known by its looks: one that has no route back looks
 * dead, or as if its stack hung.
 */
function rankOf({ fault, place }: Claim): number {
  return place.kind === 'pair' && isDead(fault) ? gravityOf('drop') - 0.5 : gravityOf(fault);
}

/** Faults that another one of the same place does not explain. */
const APART: ReadonlySet<FaultKind> = new Set(['canary-open', 'mtu-black-hole']);

/** Where a datapath drops packets, and says why. */
const DROPPING_HOOKS: ReadonlySet<string> = new Set([
  'from_pod',
  'to_pod',
  'from_netdev',
  'to_host',
  'from_host',
]);
/** Pairs with drops at the same node that make it the place, and the part of all its pairs. */
const DROPS_LEAST = 2;
const DROPS_SHARE = 0.5;

/** So many nodes down at once, and so large a part, are one fault of the network. */
const MASS_LEAST = 8;
const MASS_SHARE = 0.2;

export interface MergeContext {
  readonly nodes: number;
  /** Name of a node's zone; undefined: not known. */
  zoneOf(node: string): string | undefined;
}

/**
 * One fault is one verdict. In steps:
 *
 * 1. claims of one fault and place are one: several patterns, families and both directions of a pair;
 * 2. what a node's endpoint shows and sees is the node's;
 * 3. a claim whose place lies in that of a graver one follows from it;
 * 4. a large part of all nodes down is a network that is split.
 */
export function mergeClaims(claims: readonly Claim[], context: MergeContext): Claim[] {
  const merged = new Map<string, Claim>();
  for (const claim of joinSides(joinReasons(claims, context.nodes))) {
    const key = claimKey(claim);
    const before = merged.get(key);
    merged.set(key, before === undefined ? claim : joined(before, claim));
  }
  const graver = [...merged.values()].sort(
    (a, b) => rankOf(a) - rankOf(b) || wide(b.place) - wide(a.place) || b.gain - a.gain,
  );
  const kept: Claim[] = [];
  for (const claim of graver) {
    if (!kept.some((other) => follows(claim, other, context))) kept.push(claim);
  }
  return massDown(kept, context);
}

/** Names a verdict over time; `a` to `b` and `b` to `a` are one pair. */
export function claimKey({ fault, place }: Pick<Claim, 'fault' | 'place'>): string {
  return `${fault} ${placeKey(place)}`;
}

export function placeKey(place: FaultPlace): string {
  switch (place.kind) {
    case 'node':
    case 'observer':
      return `${place.kind} ${place.node}`;
    case 'pair':
    case 'zone-pair':
      return `${place.kind} ${[place.from, place.to].sort().join(' ')}`;
    case 'zone':
      return `zone ${place.zone}`;
    case 'path-class':
      return `path-class ${place.pathClass}`;
  }
}

/** A node that says of itself that it drops what half of the others, or more, exchange with it is the place. */
function joinReasons(claims: readonly Claim[], nodes: number): Claim[] {
  const peers = new Map<string, Set<string>>();
  for (const claim of claims) {
    const drop = ownDropOf(claim);
    if (drop !== undefined) peers.set(drop.key, (peers.get(drop.key) ?? new Set()).add(drop.peer));
  }
  const least = Math.max(DROPS_LEAST, DROPS_SHARE * (nodes - 1));
  return claims.map((claim) => {
    const drop = ownDropOf(claim);
    if (drop === undefined || (peers.get(drop.key)?.size ?? 0) < least) return claim;
    const { node, direction } = drop;
    return { ...claim, place: { kind: 'node', node, direction } };
  });
}

/** Of a pair: what one of its nodes says that it drops itself, and of whom. */
function ownDropOf({ fault, place, lossPoint }: Claim):
  | {
      readonly key: string;
      readonly node: string;
      readonly peer: string;
      readonly direction: 'send' | 'receive';
    }
  | undefined {
  if (place.kind !== 'pair' || lossPoint?.reason === undefined) return undefined;
  const { node, hook, leg, reason } = lossPoint;
  const isHere = DROPPING_HOOKS.has(hook) && (node === place.from || node === place.to);
  if (!isHere) return undefined;
  const direction = (node === place.to) === (leg === 'request') ? 'receive' : 'send';
  const peer = node === place.to ? place.from : place.to;
  return { key: JSON.stringify([fault, node, hook, leg, reason]), node, peer, direction };
}

/** A node that both shows and sees a fault of its endpoint is the place. */
function joinSides(claims: readonly Claim[]): Claim[] {
  const nodes = new Set(
    claims.flatMap(({ fault, place }) => (place.kind === 'node' ? [`${fault} ${place.node}`] : [])),
  );
  return claims.map((claim) => {
    const { fault, place } = claim;
    if (place.kind !== 'observer' || !nodes.has(`${fault} ${place.node}`)) return claim;
    return { ...claim, place: { kind: 'node', node: place.node, direction: 'both' } };
  });
}

/** Of equals the one whose observer has the lesser name. */
function isFirst({ place: a }: Claim, { place: b }: Claim): boolean {
  return a.kind !== 'pair' || b.kind !== 'pair' || a.from <= b.from;
}

function joined(a: Claim, b: Claim): Claim {
  const [first, second] = a.gain > b.gain || (a.gain === b.gain && isFirst(a, b)) ? [a, b] : [b, a];
  const since = [a.sinceMs, b.sinceMs].filter((ms) => ms !== undefined);
  return {
    ...first,
    kinds: new Set([...first.kinds, ...second.kinds]),
    families: new Set([...first.families, ...second.families]),
    lossPoint: first.lossPoint ?? second.lossPoint,
    sinceMs: since.length === 0 ? undefined : Math.min(...since),
    confidence: Math.max(a.confidence, b.confidence),
    certain: a.certain || b.certain,
    observers: Math.max(a.observers, b.observers),
    sent: a.sent + b.sent,
    lost: a.lost + b.lost,
    against: a.against + b.against,
  };
}

const WIDTH: Readonly<Record<FaultPlace['kind'], number>> = {
  'path-class': 5,
  zone: 4,
  'zone-pair': 3,
  node: 2,
  observer: 1,
  pair: 0,
};

/** How much of the cluster a place takes: a greater number is more. */
export function wide(place: FaultPlace): number {
  return WIDTH[place.kind];
}

/** Whether a claim is a consequence of another one. */
export function follows(claim: Claim, from: Claim, context: MergeContext): boolean {
  const isApart = APART.has(claim.fault) && claim.fault !== from.fault && !isDead(from.fault);
  return !isApart && touches(claim.place, from.place, context);
}

/** Whether nothing of a node, or of its kernel, answers. */
export function isDead(fault: FaultKind): boolean {
  return fault === 'node-down' || fault === 'stack-hung';
}

/** Whether a place has part in another one, so that a fault there shows here. */
function touches(place: FaultPlace, other: FaultPlace, { zoneOf }: MergeContext): boolean {
  if (placeKey(place) === placeKey(other)) return true;
  if (wide(place) > wide(other)) return false;
  const nodes = nodesOf(place);
  switch (other.kind) {
    case 'path-class':
      return other.pathClass === 'host-host';
    case 'zone':
      return nodes.some((node) => zoneOf(node) === other.zone) || zonesOf(place).includes(other.zone);
    case 'zone-pair':
      return (
        place.kind === 'pair' &&
        nodes.length === 2 &&
        [zoneOf(place.from), zoneOf(place.to)].sort().join(' ') === `${other.from} ${other.to}`
      );
    case 'node':
    case 'observer':
      return nodes.includes(other.node);
    case 'pair':
      return false;
  }
}

function nodesOf(place: FaultPlace): string[] {
  if (place.kind === 'node' || place.kind === 'observer') return [place.node];
  return place.kind === 'pair' ? [place.from, place.to] : [];
}

function zonesOf(place: FaultPlace): string[] {
  return place.kind === 'zone-pair' ? [place.from, place.to] : [];
}

function massDown(claims: readonly Claim[], { nodes }: MergeContext): Claim[] {
  const isNodeDown = ({ fault, place }: Claim): boolean => fault === 'node-down' && place.kind === 'node';
  const down = claims.filter(isNodeDown);
  const [first, ...rest] = down;
  if (first === undefined || down.length < Math.max(MASS_LEAST, MASS_SHARE * nodes)) return [...claims];
  const mass = rest.reduce(joined, first);
  const place = { kind: 'path-class', pathClass: 'host-host' } as const;
  return [{ ...mass, place }, ...claims.filter((claim) => !isNodeDown(claim))];
}
