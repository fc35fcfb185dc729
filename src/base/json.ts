/** JSON with integers kept exact: 64-bit counters, ids and cookies do not fit a double. */

/** V8's JSON source-text access, which the language's own types do not describe yet. */
interface ExactJson {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
}

const exact = JSON as unknown as ExactJson;

/** A run of digits long enough to be an integer beyond 2^53. */
const LONG_DIGITS = /\d{16}/;
const INTEGER = /^-?\d+$/;

/**
 * Parses JSON; an integer beyond ±2^53 becomes a bigint, all other numbers stay numbers.
 * @throws SyntaxError as JSON.parse does.
 */
export function parseJson(text: string): unknown {
  if (!LONG_DIGITS.test(text)) return JSON.parse(text);
  return exact.parse(text, (_key, value, context) => {
    if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
    const source = context.source ?? '';
    return INTEGER.test(source) ? BigInt(source) : value;
  });
}

/** Writes JSON; a bigint is written as the integer that it is. */
export function stringifyJson(value: unknown, indent?: number): string {
  try {
    return JSON.stringify(value, undefined, indent);
  } catch (error) {
    if (!(error instanceof TypeError) || !/BigInt/.test(error.message)) throw error;
    return JSON.stringify(
      value,
      (_key, item) => (typeof item === 'bigint' ? exact.rawJSON(item.toString()) : item),
      indent,
    );
  }
}
