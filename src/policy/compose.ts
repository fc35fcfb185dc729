import { Composer, type Document, type LineCounter, Parser } from 'yaml';
import type { DocumentLimits, Offset } from './text-node.ts';

/** Each costs the reader of YAML far more than its text. */
const MAX_DOCUMENTS = 5000;

/** Thrown when a bound is met; the rest of the text is not read. */
export class LimitReached extends Error {
  readonly at: Offset;
  readonly hint: string;
  constructor(at: Offset, message: string, hint: string) {
    super(message);
    this.at = at;
    this.hint = hint;
  }
}

interface Token {
  readonly type: string;
  readonly offset?: number;
  readonly value?: unknown;
  readonly items?: readonly { readonly key?: unknown; readonly value?: unknown }[];
}

const isToken = (value: unknown): value is Token =>
  typeof value === 'object' && value !== null && 'type' in value;

/** Walks the concrete syntax without recursion: the composer recurses, and a deep text would exhaust the stack. */
function checkDepth(root: Token, maxDepth: number): void {
  const open: { token: Token; depth: number }[] = [{ token: root, depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (depth > maxDepth) {
      throw new LimitReached(
        token.offset ?? 0,
        `values are nested more than ${maxDepth} deep`,
        'no policy needs that',
      );
    }
    if (isToken(token.value)) open.push({ token: token.value, depth });
    for (const item of token.items ?? []) {
      if (isToken(item.key)) open.push({ token: item.key, depth: depth + 1 });
      if (isToken(item.value)) open.push({ token: item.value, depth: depth + 1 });
    }
  }
}

/**
 * Reads the syntax of YAML, with duplicate keys left in.
 * @param lines gets the places of line ends
 * @throws LimitReached
 */
export function compose(text: string, lines: LineCounter, limits: DocumentLimits): Document.Parsed[] {
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const begins = tokens.filter(({ type }) => type === 'document');
  const beyond = begins[MAX_DOCUMENTS];
  if (beyond !== undefined)
    throw new LimitReached(
      'offset' in beyond ? beyond.offset : 0,
      `the text holds more than ${MAX_DOCUMENTS} documents`,
      'split it into several files',
    );
  for (const token of tokens) checkDepth(token as Token, limits.maxDepth);
  // Keys that come twice are found here: the composer compares each with each.
  const composer = new Composer({ uniqueKeys: false, strict: true, version: '1.2', schema: 'core' });
  return [...composer.compose(tokens, true, text.length)] as Document.Parsed[];
}
