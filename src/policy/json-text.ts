import { atOnce, type Slices } from '../base/slices.ts';
import type { DocumentLimits, Offset, TextEntry, TextNode } from './text-node.ts';

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORD = /true|false|null/y;

/** Where a text stops to be JSON, and why. */
export interface JsonProblem {
  readonly at: Offset;
  readonly reason: string;
  readonly hint: string | undefined;
}

/** Thrown inside this file: the text is not JSON, or beyond the limits. */
class NotPlainJson extends Error {
  readonly problem: JsonProblem | undefined;
  constructor(problem?: JsonProblem) {
    super(problem?.reason);
    this.problem = problem;
  }
}

const AS_SHOWN = 20;
/** Read in one slice: some 10 ms. */
const SLICE_CHARS = 100_000;
/** A list of rules, or an object with a list of objects. */
const SLICED_DEPTH = 2;

/** Reads JSON (RFC 8259) with the place of each value, many times as fast as YAML is read. */
class JsonReader {
  readonly #text: string;
  readonly #limits: DocumentLimits;
  #at = 0;
  #nodes = 0;
  #slicedAt = 0;

  constructor(text: string, limits: DocumentLimits) {
    this.#text = text;
    this.#limits = limits;
  }

  *document(): Slices<TextNode> {
    const root = yield* this.#shallow(0);
    this.#space();
    if (this.#at !== this.#text.length)
      throw this.#stops('nothing more', 'one text holds one object or list');
    if (root.kind !== 'map' && root.kind !== 'list') throw new NotPlainJson();
    return root;
  }

  /** What was to come at this place, and what comes. */
  #stops(wanted: string, hint?: string): NotPlainJson {
    const line = /[^\r\n]*/y;
    line.lastIndex = this.#at;
    const rest = line.exec(this.#text)?.[0] ?? '';
    const shown = rest.length > AS_SHOWN ? `${rest.slice(0, AS_SHOWN)}...` : rest;
    // Escaped, since it may go to a terminal.
    const plain = JSON.stringify(shown).slice(1, -1).replaceAll('\\"', '"');
    const isEnd = this.#at === this.#text.length;
    const found = isEnd ? 'the text ends' : plain === '' ? 'the line ends' : `not ${plain}`;
    return new NotPlainJson({
      at: this.#at,
      reason: `no JSON: ${wanted} must come here, ${found}`,
      hint: hint ?? (isEnd ? 'close what is open' : `write ${wanted}`),
    });
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #space(): void {
    this.#match(SPACE);
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #string(): string {
    const source = this.#match(STRING);
    if (source === undefined) throw this.#noString();
    return source.includes('\\') ? String(JSON.parse(source)) : source.slice(1, -1);
  }

  #noString(): NotPlainJson {
    if (this.#text[this.#at] === '"')
      return this.#stops(
        'text up to a closing quote',
        'close the quote in its line; \\ stands before one of "\\/bfnrtu only',
      );
    const isEnd = this.#text[this.#at] === '}';
    return this.#stops('a key in double quotes', isEnd ? 'take the comma before } away' : undefined);
  }

  #value(depth: number): TextNode {
    this.#count(depth);
    this.#space();
    const at = this.#at;
    switch (this.#text[at]) {
      case '{':
        return { kind: 'map', at, entries: this.#entries(depth) };
      case '[':
        return { kind: 'list', at, items: this.#items(depth) };
      case '"':
        return { kind: 'text', at, value: this.#string() };
      default:
        return this.#scalar(at);
    }
  }

  #scalar(at: number): TextNode {
    const word = this.#match(WORD);
    if (word === 'null') return { kind: 'null', at };
    if (word !== undefined) return { kind: 'boolean', at, value: word === 'true' };
    const source = this.#match(NUMBER);
    if (source === undefined) {
      const isEnd = this.#text[at] === ']' || this.#text[at] === '}';
      throw this.#stops('a value', isEnd ? 'write it, or take away what is before the bracket' : undefined);
    }
    return { kind: 'number', at, value: Number(source), source };
  }

  /** Behind the opening bracket: whether an item comes. */
  #isFirst(close: string): boolean {
    this.#at++;
    this.#space();
    return !this.#take(close);
  }

  /** Behind an item: whether another one comes. */
  #isNext(close: string): boolean {
    this.#space();
    if (this.#take(close)) return false;
    if (!this.#take(',')) throw this.#stops(`"," or ${JSON.stringify(close)}`);
    return true;
  }

  #items(depth: number): TextNode[] {
    const items: TextNode[] = [];
    for (let more = this.#isFirst(']'); more; more = this.#isNext(']')) items.push(this.#value(depth + 1));
    return items;
  }

  #entries(depth: number): TextEntry[] {
    const entries: TextEntry[] = [];
    const keys = new Set<string>();
    for (let more = this.#isFirst('}'); more; more = this.#isNext('}'))
      entries.push({ ...this.#key(keys), value: this.#value(depth + 1) });
    return entries;
  }

  #key(known: Set<string>): Pick<TextEntry, 'key' | 'keyAt'> {
    this.#space();
    const keyAt = this.#at;
    const key = this.#string();
    this.#space();
    if (known.has(key)) throw new NotPlainJson();
    if (!this.#take(':')) throw this.#stops('":" behind the key');
    known.add(key);
    return { key, keyAt };
  }

  /** As `#value`, with slices between the items of the outermost lists and objects, where the long ones are. */
  *#shallow(depth: number): Slices<TextNode> {
    this.#space();
    const at = this.#at;
    const opens = this.#text[at];
    if (depth === SLICED_DEPTH || (opens !== '{' && opens !== '[')) {
      const node = this.#value(depth);
      if (this.#at - this.#slicedAt < SLICE_CHARS) return node;
      this.#slicedAt = this.#at;
      yield;
      return node;
    }
    this.#count(depth);
    if (opens === '[') {
      const items: TextNode[] = [];
      for (let more = this.#isFirst(']'); more; more = this.#isNext(']'))
        items.push(yield* this.#shallow(depth + 1));
      return { kind: 'list', at, items };
    }
    const entries: TextEntry[] = [];
    const keys = new Set<string>();
    for (let more = this.#isFirst('}'); more; more = this.#isNext('}'))
      entries.push({ ...this.#key(keys), value: yield* this.#shallow(depth + 1) });
    return { kind: 'map', at, entries };
  }

  #count(depth: number): void {
    if (++this.#nodes > this.#limits.maxJsonNodes || depth > this.#limits.maxDepth) throw new NotPlainJson();
  }
}

/** Begins as JSON does and as nobody writes YAML. */
const MEANT_AS_JSON = /^[ \t\r\n]*(?:\{[ \t\r\n]*["}]|\[[ \t\r\n]*[[{"\]])/;

function* readJson(text: string, limits: DocumentLimits): Slices<TextNode | NotPlainJson> {
  try {
    return yield* new JsonReader(text, limits).document();
  } catch (error) {
    if (error instanceof NotPlainJson) return error;
    throw error;
  }
}

/** The tree of a text that is one JSON object or list; undefined when it is not, or has a key twice or a limit met. */
export function readJsonText(text: string, limits: DocumentLimits): TextNode | undefined {
  return atOnce(readJsonSlices(text, limits));
}

/** The same slice by slice. */
export function* readJsonSlices(text: string, limits: DocumentLimits): Slices<TextNode | undefined> {
  if (!/^[ \t\r\n]*[[{]/.test(text)) return undefined;
  const read = yield* readJson(text, limits);
  return read instanceof NotPlainJson ? undefined : read;
}

/** Where and why a text that was meant as JSON is none; undefined for others, and where something else is wrong. */
export function jsonProblem(text: string, limits: DocumentLimits): JsonProblem | undefined {
  if (!MEANT_AS_JSON.test(text)) return undefined;
  const read = atOnce(readJson(text, limits));
  return read instanceof NotPlainJson ? read.problem : undefined;
}
