import { int, list, type ModelOf, mapOf, model, opt, str } from './build.ts';

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
