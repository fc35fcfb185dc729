import { RE2JS } from 're2js';

/** Most characters of one regular expression of a rule. */
export const MAX_REGEX_LENGTH = 4096;
/** Most instructions that it may become: each may have to be looked at for each character. */
const MAX_REGEX_SIZE = 4096;

/** Why `text` is no regular expression in the syntax of RE2 (no look-around, no back-references), or undefined. */
export function regexProblem(text: string): string | undefined {
  if (text.length > MAX_REGEX_LENGTH)
    return `it has ${text.length} characters, at most ${MAX_REGEX_LENGTH} are allowed`;
  try {
    const size = RE2JS.compile(text).programSize();
    return size <= MAX_REGEX_SIZE
      ? undefined
      : `it becomes ${size} instructions, at most ${MAX_REGEX_SIZE} are allowed: repetitions like {1000} count`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
