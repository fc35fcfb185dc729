import type { HealthReadiness } from '../../api/schema.ts';
import type { FaultKind, FaultPlace, HealthDiagnosis, MatrixView } from '../../model/health.ts';
import { verdictText } from '../../view/health-diagnosis.ts';
import { sureText } from '../../view/health-words.ts';
import { timeText } from './answers.ts';
import { columnOf, reaches } from './cells.ts';

export interface ReadinessInput {
  readonly node: string;
  readonly view: MatrixView;
  readonly diagnosis: HealthDiagnosis;
  /** Realtime. */
  readonly wallMs: number;
}

/** A row older than this says nothing of now. */
const ROW_AGE_MAX_MS = 60_000;
const NAMES_SHOWN = 5;
/** Somebody takes echoes away, and nothing is down: there are clusters that are so for good. */
const HARMLESS: readonly FaultKind[] = ['icmp-filtered', 'echo-filtered'];

/** Nodes that a fault's place names. */
function named(place: FaultPlace): readonly string[] {
  if (place.kind === 'node' || place.kind === 'observer') return [place.node];
  return place.kind === 'pair' ? [place.from, place.to] : [];
}

function some(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN;
  return `${names.slice(0, NAMES_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Whether somebody else is to blame for what goes wrong between it and our node: a fault is there, or most do not reach it. */
function blames({ node, view, diagnosis }: ReadinessInput): (other: string) => boolean {
  const faulty = new Set(
    diagnosis.verdicts.flatMap(({ place }) => named(place)).filter((name) => name !== node),
  );
  for (const { node: silent } of diagnosis.silent) faulty.add(silent);
  return (other) => {
    if (faulty.has(other)) return true;
    const seen = [...columnOf(view, other)].filter(([observer]) => observer !== node);
    const away = seen.filter(([, cell]) => reaches(cell) === 'no').length;
    return seen.length > 0 && away * 2 > seen.length;
  };
}

function rowReasons({ node, view }: ReadinessInput): string[] {
  if (node === '') return ['the name of this node is not known yet'];
  const row = view.row(node);
  const ageMs = view.ageMs(node);
  if (row === undefined || ageMs === undefined)
    return [`nothing was heard of the health agent of ${node} yet`];
  if (ageMs > ROW_AGE_MAX_MS) return [`${node} was heard last ${Math.round(ageMs / 1000)} s ago`];
  const peers = [...row.cells.values()].filter(({ peer }) => peer !== node);
  const alone = view.nodes.every(({ name }) => name === node);
  if (peers.length === 0) return alone ? [] : [`${node} has measured no other node yet`];
  const unknown = peers.filter((cell) => reaches(cell) === 'unknown').map(({ peer }) => peer);
  return unknown.length === 0 ? [] : [`${node} does not know yet whether it reaches ${some(unknown)}`];
}

function reachReasons(input: ReadinessInput): string[] {
  const { node, view } = input;
  const blamed = blames(input);
  const cells = [...(view.row(node)?.cells.values() ?? [])];
  const out = cells.filter((cell) => cell.peer !== node && reaches(cell) === 'no' && !blamed(cell.peer));
  const away = [...columnOf(view, node)].filter(([other, cell]) => reaches(cell) === 'no' && !blamed(other));
  return [
    ...(out.length === 0 ? [] : [`${node} does not reach ${some(out.map(({ peer }) => peer))}`]),
    ...(away.length === 0 ? [] : [`${node} is not reached by ${some(away.map(([other]) => other))}`]),
  ];
}

function verdictReasons({ node, diagnosis }: ReadinessInput): string[] {
  return diagnosis.verdicts
    .filter(({ fault, place }) => !HARMLESS.includes(fault) && named(place).includes(node))
    .map((verdict) => `${verdictText(verdict).what} (${sureText(verdict.confidence)})`);
}

/**
 * Whether a node may take load, by what is known here: its health agent is heard, it has measured its peers, they reach
 * each other, and no verdict is about it but that its echoes are filtered. Faults of others do not count against it. Unknown
 * is not ready.
 */
export function readiness(input: ReadinessInput): HealthReadiness {
  const reasons = [...rowReasons(input), ...reachReasons(input), ...verdictReasons(input)];
  return { node: input.node, ready: reasons.length === 0, reasons, at: timeText(input.wallMs) };
}
