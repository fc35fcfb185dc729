import type { RE2JS } from 're2js';

/** Characters of the longest text that is held against expressions: they may take long for each, and everybody waits. */
const LONGEST = 512;

/** Whether an expression is found anywhere in a text; never in one that is longer than such names are. */
export function isFound(regex: RE2JS, text: string): boolean {
  return text.length <= LONGEST && regex.matcher(text).find();
}
