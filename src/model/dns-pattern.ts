import { RE2JS } from 're2js';
import { UsageError } from '../base/errors.ts';
import type { DnsPattern } from './l7.ts';

/** Most characters of a name or pattern of a rule. */
export const MAX_DNS_PATTERN_LENGTH = 255;

const NAME = /^[-a-z0-9_]+(?:\.[-a-z0-9_]+)*$/;
const PATTERN = /^[-a-z0-9_*]+(?:\.[-a-z0-9_*]+)*$/;

/** A name or pattern of a rule cannot be used. Code DNS_PATTERN_INVALID. */
export class DnsPatternError extends UsageError {}

/** Lower case (ASCII letters only, RFC 4343 §3) and without the final dot; the root is the empty text. */
export function foldDnsName(text: string): string {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function checked(what: string, text: string, shape: RegExp, allowed: string): string {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
  const invalid = (reason: string): DnsPatternError =>
    new DnsPatternError(`${shown} is not a DNS ${what}: ${reason}`, { code: 'DNS_PATTERN_INVALID' });
  if (text === '') throw invalid('it is empty');
  if (text.length > MAX_DNS_PATTERN_LENGTH)
    throw invalid(`it has ${text.length} characters, more than ${MAX_DNS_PATTERN_LENGTH}`);
  const folded = foldDnsName(text);
  if (!shape.test(folded)) {
    const stray = /[^-a-z0-9_.*]/u.exec(folded) ?? (what === 'name' ? /\*/.exec(folded) : null);
    throw invalid(
      stray === null ? 'a label is empty' : `${JSON.stringify(stray[0])} is none of ${allowed} and dots`,
    );
  }
  return folded;
}

/**
 * Reads a `matchName`: labels of letters, digits, `-` and `_`, in any case, with or without the final dot.
 * @throws DnsPatternError
 */
export function parseDnsName(text: string): DnsPattern {
  return { kind: 'name', name: checked('name', text, NAME, 'letters, digits, - and _') };
}

/**
 * Reads a `matchPattern`: like a name, with `*` anywhere. One without `*` is a name. Every name is `*` alone; `*.`, with the
 * final dot, is one label, as in Cilium, and read as `**`, which means that too.
 * @throws DnsPatternError
 */
export function parseDnsPattern(text: string): DnsPattern {
  const folded = checked('pattern', text, PATTERN, 'letters, digits, -, _, *');
  const pattern = folded === '*' && text !== '*' ? '**' : folded;
  return pattern.includes('*') ? { kind: 'pattern', pattern } : { kind: 'name', name: pattern };
}

/** Matches no name. */
export const NO_DNS_NAME: DnsPattern = { kind: 'regex', regex: 'x\\A' };

/**
 * Reads a `matchName` of 2018 that is a regular expression.
 * @returns undefined for what is none, or holds what no name has: blanks, `=`
 */
export function parseDnsRegex(text: string): DnsPattern | undefined {
  if (text === '' || text.length > MAX_DNS_PATTERN_LENGTH || /[\s\p{Cc}=]/u.test(text)) return undefined;
  try {
    compileRegex(text);
  } catch {
    return undefined;
  }
  return { kind: 'regex', regex: text };
}

/** @throws RE2JSSyntaxException */
function compileRegex(regex: string): DnsMatcher {
  const compiled = RE2JS.compile(regex, RE2JS.CASE_INSENSITIVE);
  return (name) => compiled.testExact(name) || compiled.testExact(`${name}.`);
}

/** The text that stands for the pattern wherever one is needed: the key of label `fqdn:<text>`, log lines. */
export function dnsPatternText(pattern: DnsPattern): string {
  switch (pattern.kind) {
    case 'name':
      return pattern.name;
    case 'pattern':
      return pattern.pattern;
    case 'regex':
      return `/${pattern.regex}/`;
  }
}

/** Whether `pieces`, the texts between the stars of a label, are found in `label` in order, the outer ones at its ends. */
function labelMatches(pieces: readonly string[], label: string): boolean {
  const first = pieces[0] ?? '';
  if (pieces.length === 1) return label === first;
  const last = pieces.at(-1) ?? '';
  if (!label.startsWith(first) || !label.endsWith(last)) return false;
  const end = label.length - last.length;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = label.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= end;
}

type LabelsMatcher = (labels: readonly string[]) => boolean;

function compileLabels(pattern: string): LabelsMatcher {
  const anyDepth = pattern.startsWith('**.');
  const wanted = (anyDepth ? pattern.slice(3) : pattern).split('.').map((label) => label.split('*'));
  return (labels) => {
    const extra = labels.length - wanted.length;
    if (anyDepth ? extra < 1 : extra !== 0) return false;
    return wanted.every((pieces, i) => labelMatches(pieces, labels[extra + i] ?? ''));
  };
}

/** A name that wildcards can match: those of hosts, not ones with bytes that only escapes can show. */
const PLAIN = NAME;

/** Compiled pattern; takes names as `foldDnsName` gives them. Its time is bounded by name length times pattern length. */
export type DnsMatcher = (name: string) => boolean;

/** @returns a function that says whether a name, lower case and without the final dot, is one of the pattern's. */
export function compileDnsPattern(pattern: DnsPattern): DnsMatcher {
  if (pattern.kind === 'name') return (name) => name === pattern.name;
  if (pattern.kind === 'regex') return compileRegex(pattern.regex);
  if (pattern.pattern === '*') return () => true;
  const matches = compileLabels(pattern.pattern);
  return (name) => PLAIN.test(name) && matches(name.split('.'));
}

interface Wildcard<T> {
  readonly value: T;
  readonly matches: LabelsMatcher;
}

/** The labels of a pattern behind its last star, which every name of it ends with. */
function literalSuffix(pattern: string): string {
  const labels = pattern.split('.');
  return labels.slice(labels.findLastIndex((label) => label.includes('*')) + 1).join('.');
}

/**
 * Many patterns, each with a value, asked at once: the time of a question grows with the labels of the name and the
 * patterns that share its ending, not with all patterns; but each regular expression is asked.
 */
export class DnsPatternSet<T> {
  readonly #names = new Map<string, T[]>();
  readonly #everything: T[] = [];
  readonly #regexes: { readonly value: T; readonly matches: DnsMatcher }[] = [];
  readonly #wildcards = new Map<string, Wildcard<T>[]>();

  constructor(entries: Iterable<readonly [DnsPattern, T]>) {
    for (const [pattern, value] of entries) this.#add(pattern, value);
  }

  #add(pattern: DnsPattern, value: T): void {
    if (pattern.kind === 'name') append(this.#names, pattern.name, value);
    else if (pattern.kind === 'regex') this.#regexes.push({ value, matches: compileRegex(pattern.regex) });
    else if (pattern.pattern === '*') this.#everything.push(value);
    else {
      const matches = compileLabels(pattern.pattern);
      append(this.#wildcards, literalSuffix(pattern.pattern), { value, matches });
    }
  }

  /** Values of the patterns that match a name, lower case and without the final dot; in no order. */
  match(name: string): T[] {
    const found = [...this.#everything, ...(this.#names.get(name) ?? [])];
    for (const { value, matches } of this.#regexes) if (matches(name)) found.push(value);
    if (this.#wildcards.size === 0 || !PLAIN.test(name)) return found;
    const labels = name.split('.');
    for (let from = labels.length, suffix = ''; from >= 0; from--) {
      if (from < labels.length) suffix = suffix === '' ? (labels[from] ?? '') : `${labels[from]}.${suffix}`;
      for (const { value, matches } of this.#wildcards.get(suffix) ?? []) {
        if (matches(labels)) found.push(value);
      }
    }
    return found;
  }

  /** Whether a pattern matches the name. */
  has(name: string): boolean {
    return this.#everything.length > 0 || this.#names.has(name) || this.match(name).length > 0;
  }
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
