import Type from 'typebox';
import { bool, int, list, type ModelOf, mapOf, model, opt, str } from './build.ts';
import { Labels, Port } from './common.ts';

/** The rule set: `policy` is JSON as text, indented by two blanks. */
export const Policy = model('Policy', { revision: opt(int), policy: opt(str) });
export type Policy = ModelOf<typeof Policy>;

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

export const TraceFrom = model('TraceFrom', { labels: opt(Labels) });
export type TraceFrom = ModelOf<typeof TraceFrom>;
export const TraceTo = model('TraceTo', { labels: opt(Labels), dports: opt(list(Port)) });
export type TraceTo = ModelOf<typeof TraceTo>;
export const TraceSelector = model('TraceSelector', {
  from: opt(TraceFrom),
  to: opt(TraceTo),
  verbose: opt(bool),
});
export type TraceSelector = ModelOf<typeof TraceSelector>;
export const PolicyTraceResult = model('PolicyTraceResult', { verdict: opt(str), log: opt(str) });
export type PolicyTraceResult = ModelOf<typeof PolicyTraceResult>;

export const PrefilterSpec = model('PrefilterSpec', { revision: opt(int), deny: opt(list(str)) });
export type PrefilterSpec = ModelOf<typeof PrefilterSpec>;
export const PrefilterStatus = model('PrefilterStatus', { realized: opt(PrefilterSpec) });
export type PrefilterStatus = ModelOf<typeof PrefilterStatus>;
export const Prefilter = model('Prefilter', { spec: opt(PrefilterSpec), status: opt(PrefilterStatus) });
export type Prefilter = ModelOf<typeof Prefilter>;

/** A filter of labels in the body of a GET: absent, `null` and `[]` mean no filter. */
export const LabelFilter = Type.Union([Type.Array(str), Type.Null()], { title: 'LabelFilter' });
