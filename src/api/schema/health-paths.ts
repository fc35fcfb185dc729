import Type from 'typebox';
import {
  bool,
  instant,
  list,
  type ModelOf,
  mapOf,
  model,
  oneOf,
  opt,
  str,
  timestamp,
  uint,
} from './build.ts';

/**
 * What the health agent tells beyond Cilium's API, all of it below `/v1beta`. Times of day are RFC 3339 by the clock of the
 * node that tells them; spans are integers named by their unit.
 */

const PathState = oneOf('unknown', 'reachable', 'degraded', 'unreachable');
const family = Type.Union([Type.Literal(4), Type.Literal(6)]);

export const HealthLossPoint = model('HealthLossPoint', {
  node: str,
  hook: Type.String({ description: 'hook of the datapath, or `socket`: never sent' }),
  leg: oneOf('request', 'answer'),
  reason: opt(str),
});
export type HealthLossPoint = ModelOf<typeof HealthLossPoint>;

/** What names a path. `kind` is `path-class/responder`. */
const pathNames = {
  peer: str,
  kind: Type.String({ description: 'e.g. host-host/icmp' }),
  'path-class': str,
  responder: oneOf('echo', 'icmp', 'http'),
  expects: oneOf('answer', 'silence'),
  family,
  address: str,
  primary: bool,
};

export const HealthRtt = model('HealthRtt', { min: uint, p50: uint, p99: uint, max: uint });
export type HealthRtt = ModelOf<typeof HealthRtt>;

/** `late` answers count in `lost` too. Failures are never in the times. */
export const HealthPathWindow = model('HealthPathWindow', {
  'span-ms': uint,
  sent: uint,
  answered: uint,
  late: uint,
  duplicate: uint,
  reordered: uint,
  'rtt-ns': opt(HealthRtt),
  'residence-ns': opt(Type.Integer({ minimum: 0, description: 'how long the responder held the probe' })),
});
export type HealthPathWindow = ModelOf<typeof HealthPathWindow>;

export const HealthPathReport = model('HealthPathReport', {
  ...pathNames,
  state: PathState,
  since: instant,
  reason: opt(str),
  window: HealthPathWindow,
  'last-probed': opt(timestamp),
  'last-answered': opt(timestamp),
  'loss-point': opt(HealthLossPoint),
  'path-mtu': opt(Type.Integer({ minimum: 0, description: 'bytes of IP' })),
  'black-hole': bool,
  'phases-ns': opt(mapOf(uint, { description: 'parts of the last answer of HTTP' })),
});
export type HealthPathReport = ModelOf<typeof HealthPathReport>;

export const HealthPathChange = model('HealthPathChange', {
  ...pathNames,
  from: PathState,
  to: PathState,
  at: instant,
  reason: opt(str),
  'loss-point': opt(HealthLossPoint),
});
export type HealthPathChange = ModelOf<typeof HealthPathChange>;

/** `since`: older changes may be missing, because the agent started then or keeps so many only. */
export const HealthHistory = model('HealthHistory', {
  node: opt(str),
  since: instant,
  changes: list(HealthPathChange),
});
export type HealthHistory = ModelOf<typeof HealthHistory>;

/** What one node sees of one other, as far as it is known here. */
export const HealthPairCell = model('HealthPairCell', {
  state: PathState,
  'rtt-ns': opt(uint),
  sent: uint,
  lost: uint,
  'age-ms': opt(uint),
});
export type HealthPairCell = ModelOf<typeof HealthPairCell>;

/**
 * All paths from one node to another. `source` says who tells: `self`: this node measured them; `asked`: the other node
 * was asked; `row`: it did not answer (`reason`), and only `cell` is known, from its last row; `none`: not even that.
 */
export const HealthPair = model('HealthPair', {
  from: str,
  to: str,
  source: oneOf('self', 'asked', 'row', 'none'),
  reason: opt(str),
  paths: list(HealthPathReport),
  cell: opt(HealthPairCell),
});
export type HealthPair = ModelOf<typeof HealthPair>;

export const HealthPathMtu = model('HealthPathMtu', {
  ...pathNames,
  state: PathState,
  'path-mtu': opt(Type.Integer({ minimum: 0, description: 'bytes of IP; absent: not measured' })),
  'black-hole': bool,
});
export type HealthPathMtu = ModelOf<typeof HealthPathMtu>;

export const HealthMtu = model('HealthMtu', { node: opt(str), paths: list(HealthPathMtu) });
export type HealthMtu = ModelOf<typeof HealthMtu>;

/** Bounds: 1,000 probes a path, 60 s. */
export const HealthProbeRequest = model('HealthProbeRequest', {
  nodes: list(str, { description: 'names; none: all nodes' }),
  count: opt(Type.Integer({ minimum: 1, maximum: 1000, description: 'probes a path; default 5' })),
  'timeout-ms': opt(Type.Integer({ minimum: 1, maximum: 60_000, description: 'for all of them' })),
});
export type HealthProbeRequest = ModelOf<typeof HealthProbeRequest>;

/** `sent` may exceed what was asked: the path's own pace goes on. `pending` had no outcome when the time was up. */
export const HealthProbeResult = model('HealthProbeResult', {
  ...pathNames,
  sent: uint,
  answered: uint,
  lost: uint,
  pending: uint,
  'rtt-ns': opt(model('HealthProbeRtt', { min: uint, p50: uint, max: uint })),
  reason: opt(str),
});
export type HealthProbeResult = ModelOf<typeof HealthProbeResult>;

export const HealthProbeReport = model('HealthProbeReport', {
  node: opt(str),
  count: uint,
  complete: Type.Boolean({ description: 'whether every path has all its outcomes' }),
  'took-ms': uint,
  paths: list(HealthProbeResult),
  'without-path': list(str, { description: 'nodes asked for to which no path is probed' }),
});
export type HealthProbeReport = ModelOf<typeof HealthProbeReport>;
