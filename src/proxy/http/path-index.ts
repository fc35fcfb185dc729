import { RE2JS, RE2Set } from 're2js';
import { readPattern } from './pattern.ts';

/** Paths remembered with what they match; the older half goes when it is full. */
const REMEMBERED = 1024;
/** Longer paths are not worth remembering, and would let clients fill memory. */
const LONGEST_REMEMBERED = 512;

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
  readonly #known = new Map<string, number>();
  #recent = new Map<string, readonly number[]>();
  #older = new Map<string, readonly number[]>();

  /** @throws RE2JSSyntaxException; nothing was added then */
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
      this.#regexPlaces[known]?.push(place);
      return;
    }
    RE2JS.compile(source);
    const number = this.#regexes.add(source);
    this.#known.set(source, number);
    this.#regexPlaces[number] = [place];
  }

  /** Places of the patterns that match the path, ascending. */
  match(path: string): readonly number[] {
    const recent = this.#recent.get(path) ?? this.#older.get(path);
    if (recent !== undefined) return recent;
    const places = this.#search(path);
    if (path.length > LONGEST_REMEMBERED) return places;
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
      for (const number of this.#regexes.match(path)) places.push(...(this.#regexPlaces[number] ?? []));
    }
    return places.length > 1 ? [...new Set(places)].sort((a, b) => a - b) : places;
  }
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
