import type { Label } from '../model/labels.ts';
import { matchesSelector } from '../model/selector.ts';
import { itemCovers, peersCover, selectorCovers, selectsPeers } from './coverage.ts';
import { type L7Clash, l7Clash } from './l7-clash.ts';
import type { Rule, RuleItem } from './rule.ts';
import { type PlacedItem, RULE_SECTIONS, RuleIndex } from './rule-index.ts';

const DIRECTIONS = ['ingress', 'egress'] as const;
type RuleDirection = (typeof DIRECTIONS)[number];

/** What can be said of a rule beside others. Numbers are those of the list of rules. */
export type RuleRemark =
  /** No endpoint has the labels of its subject. */
  | { readonly kind: 'selects-nothing'; readonly rule: number }
  /** An item allows nothing: another rule denies all of it. */
  | {
      readonly kind: 'denied';
      readonly rule: number;
      readonly section: RuleDirection;
      readonly item: number;
      readonly by: number;
    }
  /** An item asks for other requests than another rule, or another item of this one, on one port for one peer. */
  | ({
      readonly kind: 'contradicts';
      readonly rule: number;
      readonly section: RuleDirection;
      readonly item: number;
      readonly by: number;
    } & { readonly clash: L7Clash })
  /** Another rule says all that this one says. */
  | { readonly kind: 'covered'; readonly rule: number; readonly by: number };

function subjectCovers(wide: Rule, narrow: Rule): boolean {
  return (
    (wide.subjectKind ?? 'endpoint') === (narrow.subjectKind ?? 'endpoint') &&
    selectorCovers(wide.subject, narrow.subject)
  );
}

const denySection = (rule: Rule, direction: RuleDirection): readonly RuleItem[] =>
  (direction === 'ingress' ? rule.ingressDeny : rule.egressDeny) ?? [];

function itemCount(rule: Rule, direction: RuleDirection): number {
  return (rule[direction]?.length ?? 0) + denySection(rule, direction).length;
}

/** Whether the rule closes the direction to what nothing allows. */
function closes(rule: Rule, direction: RuleDirection): boolean {
  return itemCount(rule, direction) > 0 && (rule.enableDefaultDeny?.[direction] ?? true);
}

/** A requirement of an item restricts what every rule allows: it says more than the item. */
const adds = (items: readonly RuleItem[]): boolean => items.some(({ requires }) => requires !== undefined);

function itemsCovered(wide: readonly RuleItem[], narrow: readonly RuleItem[]): boolean {
  return narrow.every((item) => wide.some((other) => itemCovers(other, item)) || !selectsPeers(item));
}

/** Whether a subject of `narrow` is treated alike with and without it, `wide` being there. */
function ruleCovers(wide: Rule, narrow: Rule): boolean {
  if (narrow.log !== wide.log || !subjectCovers(wide, narrow)) return false;
  return DIRECTIONS.every((direction) => {
    const allowed = narrow[direction] ?? [];
    if (adds(allowed) || (closes(narrow, direction) && !closes(wide, direction))) return false;
    return (
      itemsCovered(wide[direction] ?? [], allowed) &&
      itemsCovered(denySection(wide, direction), denySection(narrow, direction))
    );
  });
}

function hasItems(rule: Rule): boolean {
  return DIRECTIONS.some((direction) => itemCount(rule, direction) > 0);
}

/** An item of the rule that another rule's has to contain before that can contain the rule. */
function telling(rule: Rule): PlacedItem | undefined {
  for (const section of RULE_SECTIONS) {
    const item = rule[section]?.find(selectsPeers);
    if (item !== undefined) return { section, item };
  }
  return undefined;
}

/** Of rules that cover each other the first one counts. */
function coveredBy(rules: RuleIndex, rule: Rule, index: number): number | undefined {
  if (!hasItems(rule)) return undefined;
  return rules.first(rule, telling(rule), (other, i) => {
    if (i === index || !ruleCovers(other, rule)) return false;
    return i < index || !ruleCovers(rule, other);
  });
}

function deniedItems(rules: RuleIndex, rule: Rule, index: number): RuleRemark[] {
  return DIRECTIONS.flatMap((section) =>
    (rule[section] ?? []).flatMap((item, i): RuleRemark[] => {
      if (!selectsPeers(item)) return [];
      const by = rules.first(
        rule,
        { section: `${section}Deny`, item },
        (other) =>
          subjectCovers(other, rule) &&
          denySection(other, section).some((denied) => itemCovers(denied, item)),
      );
      return by === undefined ? [] : [{ kind: 'denied', rule: index, section, item: i, by }];
    }),
  );
}

const asksForRequests = ({ ports }: RuleItem): boolean => ports?.some(({ l7 }) => l7 !== undefined) === true;

/** Items for which the proxy would need two parsers. Of two that contradict each other the later one is told. */
function contradictions(rules: RuleIndex, rule: Rule, index: number): RuleRemark[] {
  return DIRECTIONS.flatMap((section) =>
    (rule[section] ?? []).flatMap((item, i): RuleRemark[] => {
      if (!asksForRequests(item) || !selectsPeers(item)) return [];
      let clash: L7Clash | undefined;
      const by = rules.first(rule, { section, item }, (other, j) => {
        if (!subjectCovers(other, rule)) return false;
        const isMutual = j !== index && subjectCovers(rule, other);
        clash = other[section]
          ?.filter((wide, k) => (j === index ? k < i : !isMutual || j < index || !peersCover(item, wide)))
          .map((wide) => l7Clash(wide, item))
          .find((found) => found !== undefined);
        return clash !== undefined;
      });
      if (by === undefined || clash === undefined) return [];
      return [{ kind: 'contradicts', rule: index, section, item: i, by, clash }];
    }),
  );
}

/** Rules whose subject none of the endpoints is. Those of nodes are left out. */
export function unselectedRules(
  rules: readonly Rule[],
  endpoints: readonly (readonly Label[])[],
): readonly RuleRemark[] {
  return rules.flatMap((rule, index): RuleRemark[] => {
    if (rule.subjectKind === 'node') return [];
    const selected = endpoints.some((labels) => matchesSelector(rule.subject, labels));
    return selected ? [] : [{ kind: 'selects-nothing', rule: index }];
  });
}

/**
 * Rules that other rules leave without effect, as far as their texts show it: allowances that are denied, rules that
 * another one contains, and rules that contradict each other.
 */
export function shadowedRules(rules: readonly Rule[]): readonly RuleRemark[] {
  const all = new RuleIndex(rules);
  return rules.flatMap((rule, index): RuleRemark[] => {
    const by = coveredBy(all, rule, index);
    const told = [...deniedItems(all, rule, index), ...contradictions(all, rule, index)];
    return by === undefined ? told : [{ kind: 'covered', rule: index, by }, ...told];
  });
}
