import { RE2JS } from 're2js';
import type { MatchBudget } from './match-budget.ts';

/** A regular expression over a whole value, in the form that is cheapest to ask. */
export type Pattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'literals'; readonly texts: readonly string[] }
  /** The value begins with it, and has `more` further characters at least. */
  | { readonly kind: 'prefix'; readonly text: string; readonly more: 0 | 1 }
  | { readonly kind: 'regex'; readonly source: string };

/** Characters that stand for themselves, and escaped punctuation. */
const LITERAL = /^(?:[^\\^$.|?*+()[\]{}]|\\[^\sA-Za-z0-9])*$/;
const unescaped = (text: string): string => text.replace(/\\(.)/g, '$1');

/** What a regular expression asks for. `^` and `$` at its ends say what holds anyway. */
export function readPattern(source: string): Pattern {
  if (source === '.*' || source === '^.*$') return { kind: 'any' };
  const texts = source.split('|');
  if (texts.length > 1 && texts.every((text) => LITERAL.test(text))) {
    return { kind: 'literals', texts: texts.map(unescaped) };
  }
  const inner = /^\^?(.*?)(?:(?<!\\)\$)?$/s.exec(source)?.[1] ?? source;
  if (LITERAL.test(inner)) return { kind: 'literals', texts: [unescaped(inner)] };
  const [, text, rest] = /^(.*)(\.\*|\.\+)$/s.exec(inner) ?? [];
  if (text !== undefined && LITERAL.test(text)) {
    return { kind: 'prefix', text: unescaped(text), more: rest === '.+' ? 1 : 0 };
  }
  return { kind: 'regex', source };
}

export type Matcher = (value: string) => boolean;

/**
 * Compiles a regular expression (RE2) that is held against whole values; time is linear in the value's length.
 * A value that takes more time than there is does not match.
 * @throws RE2JSSyntaxException
 */
export function compileMatcher(source: string, budget: MatchBudget): Matcher {
  const pattern = readPattern(source);
  switch (pattern.kind) {
    case 'any':
      return () => true;
    case 'literals': {
      const [only] = pattern.texts;
      if (pattern.texts.length === 1) return (value) => value === only;
      const texts = new Set(pattern.texts);
      return (value) => texts.has(value);
    }
    case 'prefix':
      return (value) => value.length >= pattern.text.length + pattern.more && value.startsWith(pattern.text);
    case 'regex': {
      const regex = RE2JS.compile(source);
      return (value) => budget.match(value, (text) => regex.testExact(text)) === true;
    }
  }
}
