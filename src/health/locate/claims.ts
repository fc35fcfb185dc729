import type { IpFamily } from '../../base/ip.ts';
import {
  type FaultKind,
  type FaultPlace,
  type LossPoint,
  PROBE_KINDS,
  type RowNote,
} from '../../model/health.ts';
import { type EdgeStore, LOSS } from './edge-store.ts';
import { indexOfTarget, lostOf, sentOf } from './loss-graph.ts';
import type { Finding } from './peel.ts';
import type { Suspect } from './suspect.ts';
import { SYMPTOMS } from './symptoms.ts';

/** A verdict in the making: a finding with its names, before those of one fault are made one. */
export interface Claim {
  readonly fault: FaultKind;
  readonly place: FaultPlace;
  readonly kinds: ReadonlySet<number>;
  readonly families: ReadonlySet<IpFamily>;
  readonly lossPoint: LossPoint | undefined;
  readonly sinceMs: number | undefined;
  readonly confidence: number;
  readonly gain: number;
  /** Whether it rules out chance by itself. */
  readonly certain: boolean;
  readonly observers: number;
  readonly sent: number;
  readonly lost: number;
  readonly against: number;
}

/** What a finding is read with. */
export interface ClaimContext {
  readonly names: readonly string[];
  readonly zones: readonly string[];
  readonly store: EdgeStore;
  /** What an observer notes of others now. */
  notes(node: number): readonly RowNote[];
  /** What a node that looks as if it hung says of itself. */
  ownWord(node: number): readonly RowNote[];
  /** How many nodes observe a node. */
  observersOf(node: number): number;
}

/** Notes say what the fault is if so many of the edges that could have one do. */
const NOTED_SHARE = 0.3;
/** Loss points tell a direction if so many agree. */
const DIRECTION_SHARE = 0.8;
/** One who is watched by one node only: there is nobody else to tell which end is to blame. */
const LONE_PAIR = 0.5;

/** @param symptom index in `SYMPTOMS`, or `LOSS` */
export function claimOf(finding: Finding, symptom: number, context: ClaimContext): Claim {
  const { suspect } = finding;
  const lone = suspect.kind === 'pair' && context.observersOf(suspect.to) < 2;
  const shown = ownFault(suspect, symptom, lone);
  const own = ownNotes(suspect, shown, context);
  const all = [...notesOn(finding, context), ...own].filter(({ fault }) => !isRefuted(fault, shown));
  const noted = commonFault(all, finding) ?? dropAtNode(all, suspect, context, shown) ?? own[0]?.fault;
  // What others note is of something else, or not true.
  const notes = all.filter(({ fault }) => fault === noted);
  return {
    ...countShown(finding, symptom, context),
    fault: noted ?? shown,
    place: placeOf(suspect, context, directionOf(suspect, notes, context)),
    lossPoint: commonest(notes.map(({ lossPoint }) => lossPoint)),
    sinceMs: notes.length === 0 ? undefined : Math.min(...notes.map(({ sinceMs }) => sinceMs)),
    confidence: confidenceOf(finding, context.names.length) * (lone ? LONE_PAIR : 1),
    gain: finding.gain,
    certain: finding.certain,
    observers: finding.observers,
  };
}

function ownFault(suspect: Suspect, symptom: number, lone: boolean): FaultKind {
  if (symptom === LOSS) return 'loss';
  const pattern = SYMPTOMS[symptom];
  const atNode = suspect.kind === 'node' || suspect.kind === 'observed' || lone;
  return (atNode ? pattern?.fault : pattern?.between) ?? 'drop';
}

const ANSWERED: ReadonlySet<FaultKind> = new Set([
  'stack-hung',
  'agent-hung',
  'icmp-filtered',
  'http-filtered',
  'echo-filtered',
]);

/**
 * Whether what is noted cannot be where this is shown: of a node of which something answers, not all is cut that is sent to it. That
 * of an endpoint behind it may look so where a filter takes all kinds of packets that endpoints are probed by.
 */
export function isRefuted(noted: FaultKind, shown: FaultKind): boolean {
  return noted === 'nic-drop' && ANSWERED.has(shown);
}

/**
 * Against chance: among all suspects, one with such a gain is found by chance once in `e^gain / suspects`; and as far as
 * its edges agree.
 */
function confidenceOf({ gain, showing }: Finding, nodes: number): number {
  const chance = Math.exp(Math.log(3 * nodes + nodes ** 2) - gain);
  return showing * Math.max(0, 1 - chance);
}

function placeOf(suspect: Suspect, { names, zones }: ClaimContext, direction: Direction): FaultPlace {
  const name = (node: number): string => names[node] ?? '';
  const zone = (index: number): string => zones[index] ?? '';
  switch (suspect.kind) {
    case 'node':
    case 'observed':
      return { kind: 'node', node: name(suspect.node), direction };
    case 'observer':
      return { kind: 'observer', node: name(suspect.node) };
    case 'pair':
      return { kind: 'pair', from: name(suspect.from), to: name(suspect.to) };
    case 'zone':
    case 'zone-cut':
      return { kind: 'zone', zone: zone(suspect.zone) };
    case 'zones':
    case 'zone-way': {
      const ends = [suspect.from, suspect.to].map(zone).sort() as [string, string];
      return { kind: 'zone-pair', from: ends[0], to: ends[1] };
    }
    case 'all':
      return { kind: 'path-class', pathClass: 'host-host' };
  }
}

type Direction = 'both' | 'send' | 'receive';

/** Loss points lie on the way to a node, or on its answers' way back: with probes of its own, the other way round. */
function directionOf(suspect: Suspect, notes: readonly EdgeNote[], { names }: ClaimContext): Direction {
  if (suspect.kind !== 'node' && suspect.kind !== 'observed') return 'both';
  const node = names[suspect.node];
  let [sends, receives] = [0, 0];
  for (const { peer, lossPoint } of notes) {
    if (lossPoint === undefined) continue;
    const toNode = (peer === node) === (lossPoint.leg === 'request');
    if (toNode) receives++;
    else sends++;
  }
  const least = DIRECTION_SHARE * (sends + receives);
  if (sends + receives === 0) return 'both';
  if (receives >= least) return 'receive';
  return sends >= least ? 'send' : 'both';
}

interface EdgeNote extends RowNote {
  readonly from: number;
}

/** Notes of the edges that show it. */
function notesOn({ edges }: Finding, { names, notes }: ClaimContext): EdgeNote[] {
  const peersOf = new Map<number, Set<string>>();
  for (let i = 0; i < edges.length; i += 2) {
    const from = edges[i] ?? 0;
    const peers = peersOf.get(from) ?? new Set();
    peersOf.set(from, peers.add(names[edges[i + 1] ?? 0] ?? ''));
  }
  return [...peersOf].flatMap(([from, peers]) =>
    notes(from)
      .filter(({ peer }) => peers.has(peer))
      .map((note) => ({ ...note, from })),
  );
}

/** The node that does not answer, of suspects that have one such. */
function seenNode(suspect: Suspect): number | undefined {
  if (suspect.kind === 'pair') return suspect.to;
  return suspect.kind === 'node' || suspect.kind === 'observed' ? suspect.node : undefined;
}

/**
 * Where nobody can ask a node, what it says of itself: that its own policy drops what comes, which explains a stack that looks as
 * if it hung; or that its agent lives, and requests do not come through.
 */
function ownNotes(suspect: Suspect, shown: FaultKind, { ownWord }: ClaimContext): EdgeNote[] {
  const isHung = shown === 'stack-hung' || shown === 'agent-hung';
  const node = isHung ? seenNode(suspect) : undefined;
  if (node === undefined) return [];
  return ownWord(node)
    .filter(({ fault }) => fault === 'http-filtered' || shown === 'stack-hung')
    .map((note) => ({ ...note, from: node }));
}

/** The fault that notes agree on; a row has room for few, so that of one with many edges not all can have one. */
function commonFault(notes: readonly EdgeNote[], { edges, observers }: Finding): FaultKind | undefined {
  const noted = new Map<string, Set<string>>();
  for (const { fault, from, peer } of notes)
    noted.set(fault, (noted.get(fault) ?? new Set()).add(`${from} ${peer}`));
  const [best] = [...noted].sort((a, b) => b[1].size - a[1].size);
  if (best === undefined) return undefined;
  const rows = new Set([...best[1]].map((edge) => edge.split(' ')[0]));
  const enough = best[1].size >= NOTED_SHARE * (edges.length / 2) || rows.size >= NOTED_SHARE * observers;
  return enough ? (best[0] as FaultKind) : undefined;
}

/**
 * A node that drops packets itself, and says why: few have asked it yet, and that is enough. But one that is dead says
 * nothing: who notes that it did would have its death taken for something else.
 */
function dropAtNode(
  notes: readonly EdgeNote[],
  suspect: Suspect,
  { names }: ClaimContext,
  shown: FaultKind,
): FaultKind | undefined {
  if (shown === 'node-down') return undefined;
  const node = names[seenNode(suspect) ?? -1];
  return notes.find(
    ({ fault, lossPoint }) =>
      (fault === 'policy-drop' || fault === 'drop') &&
      lossPoint?.node === node &&
      lossPoint?.reason !== undefined,
  )?.fault;
}

function commonest(points: readonly (LossPoint | undefined)[]): LossPoint | undefined {
  const counts = new Map<string, { readonly point: LossPoint; count: number }>();
  for (const point of points) {
    if (point === undefined) continue;
    const key = JSON.stringify([point.node, point.hook, point.leg, point.reason]);
    const entry = counts.get(key) ?? { point, count: 0 };
    entry.count++;
    counts.set(key, entry);
  }
  return [...counts.values()].sort((a, b) => b.count - a.count)[0]?.point;
}

type Shown = Pick<Claim, 'kinds' | 'families' | 'sent' | 'lost' | 'against'>;

/** What was really sent and lost on the edges that show it, of which kinds and families. */
function countShown(finding: Finding, symptom: number, { store }: ClaimContext): Shown {
  const own = SYMPTOMS[symptom]?.kinds ?? [];
  const badBits = symptom === LOSS ? noBits : own.length === 0 ? degradedBits : deadBits;
  let [sent, lost, bad4, bad6] = [0, 0, 0, 0];
  const { edges } = finding;
  for (let i = 0; i < edges.length; i += 2) {
    const row = store.edges(edges[i] ?? 0);
    const at = row === undefined ? -1 : indexOfTarget(row, edges[i + 1] ?? 0);
    if (row === undefined || at < 0) continue;
    sent += sentOf(row.counts[at] ?? 0);
    lost += lostOf(row.counts[at] ?? 0);
    bad4 |= badBits(row.states4[at] ?? 0);
    bad6 |= badBits(row.states6[at] ?? 0);
  }
  const [kinds4, kinds6] = [bad4, bad6].map((bits) => kindsOf(bits, own)) as [number[], number[]];
  const kinds = new Set([...kinds4, ...kinds6]);
  const families = new Set<IpFamily>([
    ...(kinds4.length > 0 ? [4 as const] : []),
    ...(kinds6.length > 0 ? [6 as const] : []),
  ]);
  // In its own units where it is a state, not a count, that shows it.
  const against = finding.sent - finding.lost;
  return { kinds, families, sent, lost, against };
}

/** Of states with two bits a kind: the lower bit of each kind that is unreachable (both bits are set), or degraded. */
const LOWER_BITS = 0x5555_5555;
const deadBits = (word: number): number => word & (word >>> 1) & LOWER_BITS;
const degradedBits = (word: number): number => ~word & (word >>> 1) & LOWER_BITS;
const noBits = (): number => 0;

/** @param own the kinds that tell; none: all do */
function kindsOf(bits: number, own: readonly number[]): number[] {
  return PROBE_KINDS.flatMap((_, kind) => {
    const isOwn = own.length === 0 || own.includes(kind);
    return isOwn && ((bits >>> (2 * kind)) & 1) === 1 ? [kind] : [];
  });
}
