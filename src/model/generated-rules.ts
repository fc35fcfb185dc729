/** The first number of rules that the agent makes itself: above all that a repository ever gives. */
export const FIRST_GENERATED_RULE = 0xffff_fff0;

/** What generated rules are called, by their numbers; `policy rules` does not list them. */
export const GENERATED_RULE_NAMES: ReadonlyMap<number, string> = new Map([
  [FIRST_GENERATED_RULE, 'reserved:health-paths'],
]);
