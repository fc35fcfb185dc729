import { L7 } from './bad-l7.ts';
import { OBJECTS } from './bad-objects.ts';
import { PEERS, RULES } from './bad-peers.ts';
import { PORTS } from './bad-ports.ts';
import type { BadText } from './bad-texts.ts';

/** Line and column at which `mark` first stands in `text` after the field's own name, if it is there. */
function placeOf(text: string, mark: string, field: string): readonly [line: number, column: number] {
  const name = /([A-Za-z0-9]+)(\[\d+\])*$/.exec(field)?.[1] ?? '';
  const from = mark.startsWith(name) ? 0 : Math.max(0, text.indexOf(`${name}:`));
  const at = text.indexOf(mark, from);
  if (at < 0) throw new Error(`${mark} is not in ${text}`);
  const before = text.slice(0, at).split('\n');
  return [before.length, (before.at(-1)?.length ?? 0) + 1];
}

/** What is wrong in the parts of the language beyond endpoints, entities and port numbers. */
export const BAD_LANGUAGE: readonly BadText[] = [...PEERS, ...RULES, ...PORTS, ...L7, ...OBJECTS].map(
  ([name, text, mark, field, code, reason, hint]) => ({
    name,
    text,
    at: placeOf(text, mark, field),
    field,
    code,
    reason,
    ...(hint !== undefined && { hint }),
  }),
);
