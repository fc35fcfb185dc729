/** What a terminal obeys instead of showing it: control characters of both ranges, and changes of direction. */
const OBEYED = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const KEPT_IN_TEXT = new Set(['\n', '\t']);

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
}

/**
 * Text of others (names, labels, messages) as it may go to a terminal: `\x1b` instead of an escape character. Newlines and
 * tabs stay, since they are the layout's own.
 */
export function printable(text: string): string {
  return text.replace(OBEYED, (character) => (KEPT_IN_TEXT.has(character) ? character : escaped(character)));
}

/** One field of a line: newlines and tabs too would be somebody else's, and could make up lines. */
export function printableField(text: string): string {
  return text.replace(OBEYED, (character) =>
    character === '\n' ? '\\n' : character === '\t' ? '\\t' : escaped(character),
  );
}

/** JSON in which what a terminal obeys is written as `\u009b`: the same value for every reader. */
export function printableJson(json: string): string {
  return json.replace(OBEYED, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
