import Type from 'typebox';
import {
  bool,
  int,
  known,
  list,
  type ModelOf,
  mapOf,
  model,
  opt,
  str,
  timestamp,
  u16,
  uint,
} from './build.ts';
import { Labels, Port } from './common.ts';

/**
 * The rule set: `policy` is JSON as text, indented by two blanks. `objects` (ours): the groups and services that rules may
 * name, as `Service/default/web`; left out when there are none, or the rules were filtered.
 */
export const Policy = model('Policy', { revision: opt(int), policy: opt(str), objects: opt(list(str)) });
export type Policy = ModelOf<typeof Policy>;

/** The groups and services that rules may name: a JSON list as text, of objects as Kubernetes writes them. Ours. */
export const PolicyObjects = model('PolicyObjects', { revision: opt(int), objects: opt(str) });
export type PolicyObjects = ModelOf<typeof PolicyObjects>;

/** Objects by kind and name: `Service/default/web`. Ours. */
export const PolicyObjectRefs = Type.Array(Type.String());

/** 2018: traffic that rules are asked about. */
export const TraceFrom = model('TraceFrom', { labels: opt(Labels) });
export const TraceTo = model('TraceTo', {
  labels: opt(Labels),
  dports: opt(list(Port)),
});
export const TraceSelector = model('TraceSelector', {
  from: opt(TraceFrom),
  to: opt(TraceTo),
  verbose: opt(bool),
});
export type TraceSelector = ModelOf<typeof TraceSelector>;

/** 2018: `verdict` is `ALLOWED` or `DENIED`, `log` says why. */
export const PolicyTraceResult = model('PolicyTraceResult', { verdict: opt(str), log: opt(str) });
export type PolicyTraceResult = ModelOf<typeof PolicyTraceResult>;

export const PolicyRule = model('PolicyRule', {
  rule: opt(str),
  'derived-from-rules': opt(list(list(str))),
  'rules-by-selector': opt(mapOf(list(list(str)))),
});
export type PolicyRule = ModelOf<typeof PolicyRule>;

export const L4Policy = model('L4Policy', { ingress: opt(list(PolicyRule)), egress: opt(list(PolicyRule)) });
export type L4Policy = ModelOf<typeof L4Policy>;

export const CIDRPolicy = model('CIDRPolicy', {
  ingress: opt(list(PolicyRule)),
  egress: opt(list(PolicyRule)),
});
export type CIDRPolicy = ModelOf<typeof CIDRPolicy>;

/** New flows that a rule decided, since the rule was added. Ours. */
export const RuleConnections = model('RuleConnections', { allowed: uint, denied: uint, redirected: uint });
export type RuleConnections = ModelOf<typeof RuleConnections>;

/** Requests that the proxy judged by a rule; `denied` are those that no rule allowed on ports that this one opens. Ours. */
export const RuleRequests = model('RuleRequests', { allowed: uint, denied: uint });
export type RuleRequests = ModelOf<typeof RuleRequests>;

/** A rule of the repository with whom it selects here and what it did. Ours. */
export const PolicyRuleStatus = model('PolicyRuleStatus', {
  /** As in policy maps and verdict events. */
  id: uint,
  /** `namespace/name` of its object, else its labels. */
  name: str,
  labels: opt(Labels),
  description: opt(str),
  /** Ids of the local endpoints that it selects. */
  endpoints: list(int),
  connections: RuleConnections,
  requests: RuleRequests,
});
export type PolicyRuleStatus = ModelOf<typeof PolicyRuleStatus>;
export const PolicyRuleStatuses = Type.Array(PolicyRuleStatus);

/** New flows of one kind that the datapath judged of late: all of an endpoint, direction, peer, protocol and port. Ours. */
export const PolicyFlow = model('PolicyFlow', {
  /** The local endpoint whose policy decided. */
  endpoint: int,
  identity: int,
  direction: known('ingress', 'egress'),
  'remote-identity': int,
  /** IANA number. */
  protocol: int,
  /** Host order; of ICMP the type. */
  'destination-port': u16,
  verdict: known('allow', 'deny', 'redirect'),
  /** The rule that decided the last of them; 0: none. */
  'rule-id': uint,
  count: uint,
  'last-seen': opt(timestamp),
  /** Addresses of the last one. */
  source: opt(str),
  destination: opt(str),
});
export type PolicyFlow = ModelOf<typeof PolicyFlow>;

/** Requests of one kind that the proxy judged of late: all of an endpoint, direction, peer, port and text. Ours. */
export const PolicyRequest = model('PolicyRequest', {
  endpoint: int,
  identity: int,
  direction: known('ingress', 'egress'),
  'remote-identity': int,
  /** Host order. */
  'destination-port': u16,
  kind: known('http', 'dns', 'tls'),
  method: opt(str),
  host: opt(str),
  /** As received: path and query. */
  path: opt(str),
  /** That DNS was asked for, or TLS asked for. */
  name: opt(str),
  verdict: known('allow', 'deny'),
  count: uint,
  'last-seen': opt(timestamp),
  /** Addresses of the last one. */
  source: opt(str),
  destination: opt(str),
});
export type PolicyRequest = ModelOf<typeof PolicyRequest>;

/** `since` is when the oldest flow was seen that is still counted; older ones are forgotten. Ours. */
export const PolicyFlows = model('PolicyFlows', {
  flows: list(PolicyFlow),
  requests: opt(list(PolicyRequest)),
  since: opt(timestamp),
});
export type PolicyFlows = ModelOf<typeof PolicyFlows>;
