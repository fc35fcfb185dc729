import { itemMarks, marksOfWider, marksOfWiderItems, selectorMark } from './coverage.ts';
import type { Rule, RuleItem } from './rule.ts';

export const RULE_SECTIONS = ['ingress', 'egress', 'ingressDeny', 'egressDeny'] as const;

export interface PlacedItem {
  readonly section: (typeof RULE_SECTIONS)[number];
  readonly item: RuleItem;
}

/**
 * Finds the rules that may contain others: by a label of their subjects, and by one of the peers of an item. With
 * thousands of rules for one subject most have peers of their own.
 */
export class RuleIndex {
  readonly #rules: readonly Rule[];
  readonly #byMarks = new Map<string, number[]>();

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
    for (const [index, rule] of rules.entries()) this.#add(rule, index);
  }

  #add(rule: Rule, index: number): void {
    const subject = selectorMark(rule.subject);
    this.#list(subject, index);
    for (const section of RULE_SECTIONS)
      for (const item of rule[section] ?? [])
        for (const mark of itemMarks(item)) this.#list(`${subject}, ${section} ${mark}`, index);
  }

  #list(marks: string, index: number): void {
    const list = this.#byMarks.get(marks);
    if (list === undefined) this.#byMarks.set(marks, [index]);
    else if (list.at(-1) !== index) list.push(index);
  }

  /**
   * The number of the first rule that is accepted of those whose subject may contain that of `narrow`, and of which an
   * item of the same section may contain `about`.
   */
  first(
    narrow: Rule,
    about: PlacedItem | undefined,
    accepts: (rule: Rule, index: number) => boolean,
  ): number | undefined {
    const peers =
      about === undefined ? [''] : marksOfWiderItems(about.item).map((mark) => `, ${about.section} ${mark}`);
    let least: number | undefined;
    for (const subject of new Set(marksOfWider(narrow.subject)))
      for (const mark of peers) least = this.#firstOf(`${subject}${mark}`, least, accepts) ?? least;
    return least;
  }

  #firstOf(
    marks: string,
    below: number | undefined,
    accepts: (rule: Rule, index: number) => boolean,
  ): number | undefined {
    for (const index of this.#byMarks.get(marks) ?? []) {
      if (below !== undefined && index >= below) return undefined;
      const rule = this.#rules[index];
      if (rule !== undefined && accepts(rule, index)) return index;
    }
    return undefined;
  }
}
