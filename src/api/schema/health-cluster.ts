import Type from 'typebox';
import { bool, instant, list, type ModelOf, model, oneOf, opt, str, timestamp, uint } from './build.ts';
import { HealthLossPoint } from './health-paths.ts';

const family = Type.Union([Type.Literal(4), Type.Literal(6)]);

/**
 * One node with its row. `cells` is packed: six numbers a peer (`cell-fields`), one peer after the other; `peer` is an index into `nodes`, the states
 * hold two bits for each of `kinds` (0 unknown, 1 reachable, 2 degraded, 3 unreachable), a word a family. Absent: no row.
 */
export const HealthMatrixNode = model('HealthMatrixNode', {
  name: str,
  zone: opt(str),
  'age-ms': opt(Type.Integer({ minimum: 0, description: 'since we took the row, by our clock' })),
  at: opt(timestamp),
  incarnation: opt(uint),
  version: opt(uint),
  cells: opt(Type.Array(Type.Integer())),
});
export type HealthMatrixNode = ModelOf<typeof HealthMatrixNode>;

/** `nodes-id` changes with the list of nodes, and with it what the indices mean. */
export const HealthMatrix = model('HealthMatrix', {
  self: str,
  at: instant,
  kinds: Type.Array(str),
  'cell-fields': Type.Array(str),
  'nodes-id': str,
  nodes: Type.Array(HealthMatrixNode),
});
export type HealthMatrix = ModelOf<typeof HealthMatrix>;

/** Which members are there depends on `kind`. */
export const HealthFaultPlace = model('HealthFaultPlace', {
  kind: oneOf('node', 'pair', 'zone', 'zone-pair', 'path-class', 'observer'),
  node: opt(str),
  direction: opt(oneOf('both', 'send', 'receive')),
  from: opt(str),
  to: opt(str),
  zone: opt(str),
  'path-class': opt(str),
});
export type HealthFaultPlace = ModelOf<typeof HealthFaultPlace>;

export const HealthEvidence = model('HealthEvidence', {
  observers: uint,
  sent: uint,
  lost: uint,
  against: Type.Integer({ minimum: 0, description: 'probes that the place does not explain' }),
});
export type HealthEvidence = ModelOf<typeof HealthEvidence>;

/** `what`, `details` and `next` are for people: what is broken, what else is known of it, what to look at. */
export const HealthVerdict = model('HealthVerdict', {
  fault: str,
  place: HealthFaultPlace,
  what: str,
  details: list(str),
  next: list(str),
  kinds: list(str, { description: 'kinds of paths that show it; empty: all' }),
  families: list(family),
  'loss-point': opt(HealthLossPoint),
  since: instant,
  confidence: Type.Number({ minimum: 0, maximum: 1 }),
  evidence: HealthEvidence,
});
export type HealthVerdict = ModelOf<typeof HealthVerdict>;

export const HealthSilentNode = model('HealthSilentNode', { node: str, 'age-ms': opt(uint) });
export type HealthSilentNode = ModelOf<typeof HealthSilentNode>;

export const HealthDiagnosis = model('HealthDiagnosis', {
  node: opt(str),
  state: oneOf('healthy', 'degraded', 'broken', 'unknown'),
  at: instant,
  verdicts: list(HealthVerdict),
  silent: list(HealthSilentNode),
});
export type HealthDiagnosis = ModelOf<typeof HealthDiagnosis>;

/** Answered with 200 when `ready`, else with 503. */
export const HealthReadiness = model('HealthReadiness', {
  node: str,
  ready: bool,
  reasons: list(str),
  at: instant,
});
export type HealthReadiness = ModelOf<typeof HealthReadiness>;
