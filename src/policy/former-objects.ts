import type { PolicyObject } from './namespace.ts';
import type { ParsedRule } from './parse-context.ts';
import type { PolicyProblem } from './problem.ts';

/** Rules of objects, and the file that each is of. */
export interface PlacedRule extends ParsedRule {
  readonly file: string;
}

const nameOf = ({ kind, namespace, name }: PolicyObject): string =>
  namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;

function remark(
  { file, line, column, field }: PlacedRule,
  object: PolicyObject,
  by: PlacedRule,
): PolicyProblem {
  return {
    ...{ severity: 'warning', code: 'NO_EFFECT', file, line, column, field },
    reason: `${nameOf(object)} comes again at ${by.file}:${by.line}, and that one counts`,
    hint: 'remove one of them, or give it another name',
  };
}

/**
 * Of an object that comes more than once the last one counts, as when they are applied in turn.
 * @returns the rules that count, in their order, and a warning for each other one
 */
export function latestObjects<T extends PlacedRule>(
  rules: readonly T[],
): { readonly rules: readonly T[]; readonly warnings: readonly PolicyProblem[] } {
  const last = new Map<string, T>();
  for (const rule of rules) {
    if (rule.object === undefined) continue;
    const name = nameOf(rule.object);
    // Of an object with several rules the first one tells its place.
    if (last.get(name)?.object !== rule.object) last.set(name, rule);
  }
  const kept: T[] = [];
  const warnings: PolicyProblem[] = [];
  for (const rule of rules) {
    const by = rule.object && last.get(nameOf(rule.object));
    if (rule.object === undefined || by === undefined || by.object === rule.object) kept.push(rule);
    else warnings.push(remark(rule, rule.object, by));
  }
  return { rules: kept, warnings };
}
