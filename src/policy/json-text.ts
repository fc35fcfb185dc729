import type { DocumentLimits, TextEntry, TextNode } from './text-node.ts';

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORD = /true|false|null/y;

/** Thrown inside this file: the text is not JSON, or beyond the limits; the reader of YAML will say what is wrong. */
class NotPlainJson extends Error {}

/** Reads JSON (RFC 8259) with the place of each value, many times as fast as YAML is read. */
class JsonReader {
  readonly #text: string;
  readonly #limits: DocumentLimits;
  #at = 0;
  #nodes = 0;

  constructor(text: string, limits: DocumentLimits) {
    this.#text = text;
    this.#limits = limits;
  }

  document(): TextNode {
    const root = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length || (root.kind !== 'map' && root.kind !== 'list'))
      throw new NotPlainJson();
    return root;
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
    if (source === undefined) throw new NotPlainJson();
    return source.includes('\\') ? String(JSON.parse(source)) : source.slice(1, -1);
  }

  #value(depth: number): TextNode {
    if (++this.#nodes > this.#limits.maxJsonNodes || depth > this.#limits.maxDepth) throw new NotPlainJson();
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
    if (source === undefined) throw new NotPlainJson();
    return { kind: 'number', at, value: Number(source), source };
  }

  /** Between the brackets: items with commas between them. */
  #list(close: string, item: () => void): void {
    this.#at++;
    this.#space();
    if (this.#take(close)) return;
    for (;;) {
      item();
      this.#space();
      if (this.#take(close)) return;
      if (!this.#take(',')) throw new NotPlainJson();
    }
  }

  #items(depth: number): TextNode[] {
    const items: TextNode[] = [];
    this.#list(']', () => items.push(this.#value(depth + 1)));
    return items;
  }

  #entries(depth: number): TextEntry[] {
    const entries: TextEntry[] = [];
    const keys = new Set<string>();
    this.#list('}', () => {
      this.#space();
      const keyAt = this.#at;
      const key = this.#string();
      this.#space();
      if (keys.has(key) || !this.#take(':')) throw new NotPlainJson();
      keys.add(key);
      entries.push({ key, keyAt, value: this.#value(depth + 1) });
    });
    return entries;
  }
}

/** The tree of a text that is one JSON object or list; undefined when it is not, or has a key twice or a limit met. */
export function readJsonText(text: string, limits: DocumentLimits): TextNode | undefined {
  if (!/^[ \t\r\n]*[[{]/.test(text)) return undefined;
  try {
    return new JsonReader(text, limits).document();
  } catch (error) {
    if (error instanceof NotPlainJson) return undefined;
    throw error;
  }
}
