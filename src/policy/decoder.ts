import type { TextNode } from './document.ts';
import type { PolicyProblem, ProblemCode } from './problem.ts';

/** What right values look like, where a word does not say it. */
const REMEDIES: Readonly<Record<string, string>> = {
  'a map': 'write fields with values: {name: value}',
  'a list': 'write a list, also of one: [value]',
  text: 'write one word or text',
};

/** A value of the text and the path by which messages name it. */
export interface Field {
  readonly node: TextNode;
  readonly path: string;
}

/** What a map may hold: `read` by us, `ignored` because only servers write it, `refused` with a reason. */
export type FieldTable = Readonly<Record<string, 'read' | 'ignored' | { readonly refused: string }>>;

/** How a field of the text is put in words: `a list`, `text` ... */
const KIND_WORDS: Record<TextNode['kind'], string> = {
  map: 'a map',
  list: 'a list',
  text: 'text',
  number: 'a number',
  boolean: 'true or false',
  null: 'empty',
};

/** Steps of insertion, deletion, substitution and swapping of neighbours between two short words. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let steps = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) steps = Math.min(steps, (before[j - 2] ?? 0) + 1);
      next.push(steps);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The known word nearest to `word`, if it is near enough to be a slip. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const lower = word.toLowerCase();
  let best: { text: string; distance: number } | undefined;
  for (const text of known) {
    const distance = editDistance(lower, text.toLowerCase());
    if (best === undefined || distance < best.distance) best = { text, distance };
  }
  const limit = Math.max(1, Math.floor(word.length / 3));
  return best !== undefined && best.distance <= limit ? best.text : undefined;
}

/** `did you mean "x"?`, or the list of what is known when that is short. */
export function suggestion(word: string, known: readonly string[]): string | undefined {
  const near = nearestWord(word, known);
  if (near !== undefined) return `did you mean ${JSON.stringify(near)}?`;
  return known.length <= 16 ? `known: ${known.join(', ')}` : undefined;
}

/** Shows a value from outside, shortened and quoted. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}

/** A field's path below another: `spec` + `ingress` -> `spec.ingress`. */
export function childPath(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** A number as Go reads it in YAML: octal after a leading 0, which YAML 1.2 takes for decimal. */
function goNumber(value: number, source: string): number {
  return /^[-+]?0[0-7]+$/.test(source) ? Number.parseInt(source, 8) : value;
}

/** Reads typed values out of the text's tree; what does not fit is reported and answered with undefined. */
export class Decoder {
  readonly #file: string;
  /** Whether nodes have identities by their labels; undefined: not known. */
  readonly nodeLabels: boolean | undefined;
  #position: (at: number) => { line: number; column: number } = () => ({ line: 1, column: 1 });
  readonly #found: { at: number; problem: Omit<PolicyProblem, 'line' | 'column'> }[] = [];

  constructor(file: string, options: { readonly nodeLabels?: boolean | undefined } = {}) {
    this.#file = file;
    this.nodeLabels = options.nodeLabels;
  }

  setPositions(position: (at: number) => { line: number; column: number }): void {
    this.#position = position;
  }

  positionOf(at: number): { line: number; column: number } {
    return this.#position(at);
  }

  /** Everything reported, by place. */
  problems(): readonly PolicyProblem[] {
    return [...this.#found]
      .sort((a, b) => a.at - b.at)
      .map(({ at, problem }) => ({ ...problem, ...this.#position(at) }));
  }

  reportAt(at: number, path: string, code: ProblemCode, reason: string, hint?: string): undefined {
    const problem = { severity: 'error', code, file: this.#file, field: path, reason, hint } as const;
    this.#found.push({ at, problem });
  }

  report(field: Field, code: ProblemCode, reason: string, hint?: string): undefined {
    return this.reportAt(field.node.at, field.path, code, reason, hint);
  }

  warnAt(at: number, path: string, reason: string, hint?: string): void {
    const problem = {
      severity: 'warning',
      code: 'NO_EFFECT',
      file: this.#file,
      field: path,
      reason,
      hint,
    } as const;
    this.#found.push({ at, problem });
  }

  warn(field: Field, reason: string, hint?: string): void {
    this.warnAt(field.node.at, field.path, reason, hint);
  }

  #wrongKind(field: Field, wanted: string, hint?: string): undefined {
    const found = KIND_WORDS[field.node.kind];
    const remedy =
      hint ?? (field.node.kind === 'null' ? 'leave the field out, or give it a value' : REMEDIES[wanted]);
    return this.report(field, 'TYPE', `must be ${wanted}, found ${found}`, remedy);
  }

  /**
   * The entries of a map whose keys are checked against `table`; those of a refused or unknown key are left out, and
   * empty ones, which Kubernetes and Go take for absent.
   */
  fields(field: Field, table: FieldTable): Map<string, Field> | undefined {
    const { node, path } = field;
    if (node.kind !== 'map') return this.#wrongKind(field, 'a map');
    const out = new Map<string, Field>();
    for (const { key, keyAt, value } of node.entries) {
      const use = Object.hasOwn(table, key) ? table[key] : undefined;
      const at = childPath(path, key);
      if (use === 'read' && value.kind === 'null')
        this.warnAt(
          keyAt,
          at,
          'is empty, as if it were not there',
          'leave the field out, or give it a value',
        );
      else if (use === 'read') out.set(key, { node: value, path: at });
      else if (typeof use === 'object') {
        const hint = 'leave the whole rule out: without this field it would mean something else';
        this.reportAt(keyAt, at, 'UNSUPPORTED', `${key} is not supported: ${use.refused}`, hint);
      } else if (use === undefined) {
        const known = Object.keys(table).filter((name) => table[name] === 'read');
        const near = nearestWord(key, Object.keys(table)) ?? nearestWord(key, known);
        const hint = near === undefined ? suggestion(key, known) : `did you mean ${JSON.stringify(near)}?`;
        this.reportAt(keyAt, at, 'UNKNOWN_FIELD', `${quote(key)} is not a known field`, hint);
      }
    }
    return out;
  }

  /** The entries of a map with free keys. */
  entries(field: Field): { key: string; keyAt: number; value: Field }[] | undefined {
    const { node, path } = field;
    if (node.kind !== 'map') return this.#wrongKind(field, 'a map');
    return node.entries.map(({ key, keyAt, value }) => ({
      key,
      keyAt,
      value: { node: value, path: childPath(path, key) },
    }));
  }

  items(field: Field): Field[] | undefined {
    const { node, path } = field;
    if (node.kind !== 'list') return this.#wrongKind(field, 'a list');
    return node.items.map((item, i) => ({ node: item, path: `${path}[${i}]` }));
  }

  text(field: Field): string | undefined {
    const { node } = field;
    if (node.kind === 'text') return node.value;
    const quoted = node.kind === 'number' || node.kind === 'boolean';
    const shown = node.kind === 'number' ? node.source : String(node.kind === 'boolean' ? node.value : '');
    const empty = node.kind === 'null' ? 'write "" for an empty text' : undefined;
    return this.#wrongKind(field, 'text', quoted ? `put it in quotes: "${shown}"` : empty);
  }

  boolean(field: Field): boolean | undefined {
    const { node } = field;
    if (node.kind === 'boolean') return node.value;
    return this.#wrongKind(field, 'true or false', 'write true or false, without quotes');
  }

  integer(field: Field, min: number, max: number): number | undefined {
    const { node } = field;
    const range = `write a whole number from ${min} to ${max}`;
    if (node.kind !== 'number') return this.#wrongKind(field, 'a number', `${range}, without quotes`);
    const value = goNumber(node.value, node.source);
    if (value !== node.value) this.warn(field, `${node.source} is octal: ${value}`, `write ${value}`);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    return this.report(
      field,
      'VALUE',
      `must be a whole number from ${min} to ${max}, found ${node.source}`,
      range,
    );
  }

  /** Reports a field that must be there, at the place of the map that lacks it. */
  missing(parent: Field, name: string, hint?: string): undefined {
    return this.report(
      { node: parent.node, path: childPath(parent.path, name) },
      'MISSING',
      'is required',
      hint ?? `write ${name}: and a value`,
    );
  }
}
