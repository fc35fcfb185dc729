import { type L7Rules, PAIR_KINDS, type PairKind, type PairRule } from '../model/l7.ts';
import { PAIR_FORMS, pairProblem } from '../model/pair-rules.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { childOf } from './parse-context.ts';
import { regexProblem } from './regex.ts';

const NOTHING = 'this rule allows nothing';

/** Cilium takes any pairs; those that its parser cannot use allow nothing there, and here. */
function remarkOn(decoder: Decoder, field: Field, kind: PairKind, rule: PairRule): void {
  const problem = pairProblem(kind, rule);
  if (problem !== undefined) {
    const { key, reason, unknown } = problem;
    const at = childOf(field, key) ?? field;
    decoder.warn(at, `${reason}: ${NOTHING}`, unknown && suggestion(unknown.word, unknown.known));
  }
  for (const key of PAIR_FORMS[kind].regexes) {
    const text = rule[key];
    const reason = text === undefined || text === '' ? undefined : regexProblem(text);
    if (text === undefined || reason === undefined) continue;
    const at = childOf(field, key) ?? field;
    decoder.warn(
      at,
      `${quote(text)} is not a regular expression: ${reason}: ${NOTHING}`,
      'the syntax is that of RE2',
    );
  }
}

function decodePairs(decoder: Decoder, field: Field): PairRule | undefined {
  const entries = decoder.entries(field);
  if (entries === undefined) return undefined;
  const pairs: [string, string][] = [];
  for (const { key, keyAt, value } of entries) {
    const text = decoder.text(value);
    if (key === '') decoder.reportAt(keyAt, value.path, 'VALUE', 'the key is empty');
    else if (text !== undefined) pairs.push([key, text]);
  }
  return Object.fromEntries(pairs);
}

/**
 * Reads `l7proto` and `l7`. Without rules every request passes that can be read as one of the protocol.
 * @param list the field `l7`
 */
export function decodePairRules(
  decoder: Decoder,
  { field, name, list }: { readonly field: Field; readonly name: string; readonly list: Field | undefined },
): L7Rules {
  const kind = PAIR_KINDS.find((known) => known === name);
  const items = list === undefined ? [] : (decoder.items(list) ?? []);
  const rules = items.flatMap((item) => {
    const rule = decodePairs(decoder, item);
    if (rule === undefined) return [];
    if (kind !== undefined) remarkOn(decoder, item, kind, rule);
    return [rule];
  });
  if (kind !== undefined) return { kind, rules: rules.length === 0 ? [{}] : rules };
  const reason = `nothing can judge ${quote(name)}: no connection to these ports passes`;
  decoder.warn(field, reason, suggestion(name, PAIR_KINDS));
  return { kind: 'other', protocol: name, rules };
}
