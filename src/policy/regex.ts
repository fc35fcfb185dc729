import { RE2JS } from 're2js';

/** Most characters of one regular expression of a rule. */
export const MAX_REGEX_LENGTH = 4096;

/** Why `text` is no regular expression in the syntax of RE2 (no look-around, no back-references), or undefined. */
export function regexProblem(text: string): string | undefined {
  if (text.length > MAX_REGEX_LENGTH)
    return `it has ${text.length} characters, at most ${MAX_REGEX_LENGTH} are allowed`;
  try {
    RE2JS.compile(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
