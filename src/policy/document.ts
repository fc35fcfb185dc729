import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node } from 'yaml';
import { atOnce, type Slices } from '../base/slices.ts';
import { compose, LimitReached } from './compose.ts';
import { jsonProblem, readJsonSlices } from './json-text.ts';
import type { ProblemCode } from './problem.ts';
import { syntaxText } from './syntax-text.ts';
import type { DocumentLimits, Offset, TextEntry, TextNode } from './text-node.ts';

export type { DocumentLimits, TextEntry, TextNode } from './text-node.ts';

export const DEFAULT_DOCUMENT_LIMITS: DocumentLimits = {
  maxBytes: 1 << 20,
  maxDepth: 32,
  maxNodes: 200_000,
  maxJsonBytes: 8 << 20,
  maxJsonNodes: 2_000_000,
};

/** Of what we wrote ourselves, rule by rule and object by object: it was read before, and must be read again. */
export const OWN_DOCUMENT_LIMITS: Partial<DocumentLimits> = {
  maxJsonBytes: Number.POSITIVE_INFINITY,
  maxJsonNodes: Number.POSITIVE_INFINITY,
};

export type ReportAt = (at: Offset, code: ProblemCode, reason: string, hint?: string) => void;

export interface ParsedText {
  readonly documents: readonly TextNode[];
  readonly position: (at: Offset) => { line: number; column: number };
}

/** Tags of values that have their JSON form whatever the tag says. */
const CORE_TAG = /^(?:!|tag:yaml\.org,2002:(?:str|int|float|bool|null|map|seq))$/;

class Converter {
  readonly #report: ReportAt;
  readonly #limits: DocumentLimits;
  #nodes = 0;
  #failed = false;
  #document: Document.Parsed | undefined;

  constructor(report: ReportAt, limits: DocumentLimits) {
    this.#report = report;
    this.#limits = limits;
  }

  /** The document's value; undefined when it has none, or when it cannot be made out. */
  document(document: Document.Parsed): TextNode | undefined {
    this.#document = document;
    this.#failed = false;
    const root = document.contents === null ? undefined : this.#node(document.contents, 0, 0);
    return this.#failed ? undefined : root;
  }

  #fail(at: Offset, reason: string, hint?: string): void {
    this.#failed = true;
    this.#report(at, 'SYNTAX', reason, hint);
  }

  #node(node: Node | null, at: Offset, depth: number): TextNode {
    const start = node?.range?.[0] ?? at;
    this.#nodes++;
    if (this.#nodes > this.#limits.maxNodes) {
      throw new LimitReached(
        start,
        `the text holds more than ${this.#limits.maxNodes} values`,
        'aliases count as often as they are used',
      );
    }
    if (depth > this.#limits.maxDepth)
      throw new LimitReached(start, 'aliases nest without end', 'write the value out');
    if (node === null) return { kind: 'null', at: start };
    if (isAlias(node)) return this.#alias(node.source, start, depth);
    this.#checkTag(node.tag, start);
    if (isMap(node)) return this.#map(node.items, start, depth);
    if (isSeq(node)) {
      const items = node.items.map((item) => this.#node(item as Node | null, start, depth + 1));
      return { kind: 'list', at: start, items };
    }
    return this.#scalar(isScalar(node) ? node.value : null, isScalar(node) ? (node.source ?? '') : '', start);
  }

  /** Types of other tags are no types of policies: what they make of a value would be guessed. */
  #checkTag(tag: string | undefined, at: Offset): void {
    if (tag === undefined || CORE_TAG.test(tag)) return;
    const shown = tag.replace(/^tag:yaml\.org,2002:/, '!!');
    this.#fail(at, `the tag ${shown} is not read`, 'write the value out, without the tag');
  }

  #alias(name: string, at: Offset, depth: number): TextNode {
    const anchored = this.#anchors().get(name);
    if (anchored === undefined) {
      this.#fail(at, `the alias *${name} has no anchor`);
      return { kind: 'null', at };
    }
    return this.#node(anchored, at, depth + 1);
  }

  #anchorCache: { of: Document.Parsed | undefined; anchors: Map<string, Node> } = {
    of: undefined,
    anchors: new Map(),
  };

  #anchors(): Map<string, Node> {
    if (this.#anchorCache.of === this.#document) return this.#anchorCache.anchors;
    const anchors = new Map<string, Node>();
    const open: unknown[] = [this.#document?.contents];
    while (open.length > 0) {
      const node = open.pop();
      if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor !== undefined)
        anchors.set(node.anchor, node);
      if (isSeq(node)) open.push(...node.items);
      if (isMap(node)) for (const pair of node.items) open.push(pair.key, pair.value);
    }
    this.#anchorCache = { of: this.#document, anchors };
    return anchors;
  }

  #map(pairs: readonly { key: unknown; value: unknown }[], at: Offset, depth: number): TextNode {
    const entries: TextEntry[] = [];
    const seen = new Set<string>();
    for (const pair of pairs) {
      const key = pair.key as Node | null;
      const keyAt = key?.range?.[0] ?? at;
      if (!isScalar(key) || key.value === null) {
        this.#fail(keyAt, 'a key must be plain text');
        continue;
      }
      const name = typeof key.value === 'string' ? key.value : (key.source ?? String(key.value));
      if (seen.has(name)) {
        this.#fail(keyAt, `the same key occurs twice: ${JSON.stringify(name)}`, 'keep one of them');
        continue;
      }
      seen.add(name);
      const end = key.range?.[1] ?? keyAt;
      entries.push({ key: name, keyAt, value: this.#node(pair.value as Node | null, end, depth + 1) });
    }
    return { kind: 'map', at, entries };
  }

  #scalar(value: unknown, source: string, at: Offset): TextNode {
    if (typeof value === 'string') return { kind: 'text', at, value };
    if (typeof value === 'number' || typeof value === 'bigint')
      return { kind: 'number', at, value: Number(value), source };
    if (typeof value === 'boolean') return { kind: 'boolean', at, value };
    return { kind: 'null', at };
  }
}

/** The tree of a value that JSON.parse gave, for texts that we wrote ourselves; every place is 0. */
export function treeOfValue(value: unknown): TextNode {
  const at = 0;
  if (typeof value === 'string') return { kind: 'text', at, value };
  if (typeof value === 'number') return { kind: 'number', at, value, source: String(value) };
  if (typeof value === 'boolean') return { kind: 'boolean', at, value };
  if (Array.isArray(value)) return { kind: 'list', at, items: value.map(treeOfValue) };
  if (typeof value !== 'object' || value === null) return { kind: 'null', at };
  const entries = Object.entries(value).map(([key, item]) => ({ key, keyAt: at, value: treeOfValue(item) }));
  return { kind: 'map', at, entries };
}

/** Of YAML 1.2 §5.1: control characters that no text holds, so each is the mark of another kind of file. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const NOT_TEXT = /[\0-\x08\x0b\x0c\x0e-\x1f]/;

function convert(text: string, report: ReportAt, lines: LineCounter, limits: DocumentLimits): TextNode[] {
  const converter = new Converter(report, limits);
  const documents: TextNode[] = [];
  const composed = compose(text, lines, limits);
  const json = composed.some(({ errors }) => errors.length > 0) ? jsonProblem(text, limits) : undefined;
  if (json !== undefined) {
    report(json.at, 'SYNTAX', json.reason, json.hint);
    return [];
  }
  const control = NOT_TEXT.exec(text);
  if (control !== null) {
    const code = control[0].charCodeAt(0).toString(16).padStart(2, '0');
    const reason = `the text holds the control character 0x${code}, which YAML does not allow`;
    report(control.index, 'SYNTAX', reason, 'is this a policy file?');
    return [];
  }
  for (const document of composed) {
    for (const error of document.errors) {
      const { reason, hint } = syntaxText(error);
      report(error.pos[0], 'SYNTAX', reason, hint);
    }
    if (document.errors.length > 0) continue;
    const root = converter.document(document);
    if (root !== undefined && root.kind !== 'null') documents.push(root);
  }
  return documents;
}

function countLines(text: string, lines: LineCounter): void {
  lines.addNewLine(0);
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1);
}

/** What editors of Windows put before a text; the YAML parser takes no list behind it. */
const BYTE_ORDER_MARK = '\uFEFF';

/**
 * Reads YAML 1.2 (JSON is a subset of it), several documents allowed, into values with their places. Duplicate keys,
 * unknown anchors, deep nesting and texts beyond the limits are reported, not thrown; a document with a syntax error
 * is left out. A byte order mark before the text counts for nothing, in places too.
 */
export function parseText(...of: Parameters<typeof parseTextSlices>): ParsedText {
  return atOnce(parseTextSlices(...of));
}

/** The same, JSON slice by slice; YAML, of which much less is read, in one. */
export function* parseTextSlices(
  marked: string,
  report: ReportAt,
  limits: DocumentLimits = DEFAULT_DOCUMENT_LIMITS,
): Slices<ParsedText> {
  const text = marked.startsWith(BYTE_ORDER_MARK) ? marked.slice(1) : marked;
  const lines = new LineCounter();
  const position = (at: Offset): { line: number; column: number } => {
    const { line, col } = lines.linePos(at);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const bytes = Buffer.byteLength(text);
  const json = bytes > limits.maxJsonBytes ? undefined : yield* readJsonSlices(text, limits);
  if (json !== undefined) {
    countLines(text, lines);
    return { documents: [json], position };
  }
  if (bytes > limits.maxBytes) {
    report(
      0,
      'LIMIT',
      `the text has ${bytes} bytes, at most ${limits.maxBytes} are read, ${limits.maxJsonBytes} of JSON`,
      'split it into several files',
    );
    return { documents: [], position };
  }
  try {
    return { documents: convert(text, report, lines, limits), position };
  } catch (error) {
    if (!(error instanceof LimitReached)) throw error;
    report(error.at, 'LIMIT', error.message, error.hint);
    return { documents: [], position };
  }
}
