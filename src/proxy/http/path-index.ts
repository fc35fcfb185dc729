import { RE2JS, RE2Set } from 're2js';
import { MatchBudget } from './match-budget.ts';
import { readPattern } from './pattern.ts';

/** Paths remembered with what they match; the older half goes when it is full. */
const REMEMBERED = 1024;
/** Longer paths are not worth remembering, and would let clients fill memory. */
const LONGEST_REMEMBERED = 512;
/** Most instructions of all expressions together: they become one automaton, in a second at the longest. */
const LARGEST_SET = 200_000;

/**
 * Many path patterns, asked at once: literal ones by one look-up, prefixes by one for each length there is, and all
 * other expressions together, as one automaton (RE2's set). Results of recent paths are remembered.
 */
export class PathIndex {
  readonly #everywhere: number[] = [];
  readonly #literals = new Map<string, number[]>();
  readonly #prefixes = new Map<number, Map<string, { readonly place: number; readonly more: 0 | 1 }[]>>();
  readonly #regexes = new RE2Set(RE2Set.ANCHOR_BOTH);
  /** Places by the number of the expression in the set. */
  readonly #regexPlaces: number[][] = [];
  #size = 0;
  /** Places by expression. */
  readonly #known = new Map<string, number[]>();
  readonly #budget: MatchBudget;
  #recent = new Map<string, readonly number[]>();
  #older = new Map<string, readonly number[]>();

  /** @param budget what expressions may take; paths that take longer match none of them */
  constructor(budget: MatchBudget = new MatchBudget()) {
    this.#budget = budget;
  }

  /** @throws RE2JSSyntaxException, RangeError when there are too many; nothing was added then */
  add(source: string | undefined, place: number): void {
    const pattern = source === undefined ? ({ kind: 'any' } as const) : readPattern(source);
    if (pattern.kind === 'any') this.#everywhere.push(place);
    else if (pattern.kind === 'literals') {
      for (const text of new Set(pattern.texts)) append(this.#literals, text, place);
    } else if (pattern.kind === 'prefix') {
      const ofLength = this.#prefixes.get(pattern.text.length) ?? new Map();
      this.#prefixes.set(pattern.text.length, ofLength);
      append(ofLength, pattern.text, { place, more: pattern.more });
    } else this.#addRegex(pattern.source, place);
  }

  #addRegex(source: string, place: number): void {
    const known = this.#known.get(source);
    if (known !== undefined) {
      known.push(place);
      return;
    }
    const size = RE2JS.compile(source).programSize();
    if (this.#size + size > LARGEST_SET)
      throw new RangeError(`the paths of its rules become more than ${LARGEST_SET} instructions`);
    this.#size += size;
    const places = [place];
    this.#regexPlaces[this.#regexes.add(source)] = places;
    this.#known.set(source, places);
  }

  /** Makes the automaton of the expressions, which takes time, before the first path is looked for. Nothing can be added then. */
  compile(): void {
    if (this.#regexPlaces.length > 0) this.#regexes.compile();
  }

  /** Places of the patterns that match the path, ascending. */
  match(path: string): readonly number[] {
    const recent = this.#recent.get(path) ?? this.#older.get(path);
    if (recent !== undefined) return recent;
    const places = this.#search(path);
    if (path.length > LONGEST_REMEMBERED || this.#budget.isOver) return places;
    if (this.#recent.size >= REMEMBERED / 2) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(path, places);
    return places;
  }

  #search(path: string): readonly number[] {
    const places = [...this.#everywhere, ...(this.#literals.get(path) ?? [])];
    for (const [length, texts] of this.#prefixes) {
      if (length > path.length) continue;
      for (const { place, more } of texts.get(path.slice(0, length)) ?? []) {
        if (path.length >= length + more) places.push(place);
      }
    }
    if (this.#regexPlaces.length > 0) {
      const numbers = this.#budget.match(path, (text) => this.#regexes.match(text)) ?? [];
      for (const number of numbers) places.push(...(this.#regexPlaces[number] ?? []));
    }
    return places.length > 1 ? [...new Set(places)].sort((a, b) => a - b) : places;
  }
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
