/*
 * Requests of memcached's text protocol (`doc/protocol.txt`). What the server would read otherwise than this is refused:
 * line ends but CRLF, blanks but one space, control characters, words too many or too few.
 */

/** How an answer ends: with its line; after values, with END; or never. */
export type TextAnswer = 'none' | 'line' | 'values' | 'list' | 'forever';

export interface TextRequest {
  readonly command: string;
  readonly keys: readonly string[];
  /** Bytes of data that follow the line, its CRLF included; 0: none. */
  readonly dataBytes: number;
  readonly answer: TextAnswer;
}

const MAX_KEY_LENGTH = 250;
/** memcached's greatest item. */
const MAX_DATA_BYTES = 1024 * 1024 * 1024;
const NUMBER = /^\d{1,20}$/;
const SIGNED = /^-?\d{1,20}$/;

/**
 * What memcached takes for a number. Beside that it answers an error and reads the data of the request as the next
 * requests, so nothing beyond is passed on.
 */
interface Range {
  readonly least: bigint;
  readonly most: bigint;
}

const FLAGS: Range = { least: 0n, most: 2n ** 32n - 1n };
const TIME: Range = { least: -(2n ** 31n), most: 2n ** 31n - 1n };
const U64: Range = { least: 0n, most: 2n ** 64n - 1n };

interface Form {
  /** Words behind the command, without `noreply`. */
  readonly least: number;
  readonly most: number;
  /** Those of the words that are keys: the first, or all from there on; undefined: none. */
  readonly keys?: { readonly from: number; readonly many: boolean };
  /** Which word is the length of the data. */
  readonly length?: number;
  /** Which words are numbers, the length aside, and of which size. */
  readonly numbers?: readonly (readonly [place: number, range: Range])[];
  readonly noreply: boolean;
  readonly answer: TextAnswer;
}

const FIRST = { from: 0, many: false };
const STORE: Form = {
  ...{ least: 4, most: 4, keys: FIRST, length: 3, noreply: true, answer: 'line' },
  numbers: [
    [1, FLAGS],
    [2, TIME],
  ],
};
const COUNT: Form = { least: 2, most: 2, keys: FIRST, numbers: [[1, U64]], noreply: true, answer: 'line' };
const GET: Form = { least: 1, most: 1e9, keys: { from: 0, many: true }, noreply: false, answer: 'values' };
const GAT: Form = { ...GET, least: 2, keys: { from: 1, many: true }, numbers: [[0, TIME]] };
const ADMIN: Form = { least: 0, most: 20, noreply: false, answer: 'line' };

const FORMS: ReadonlyMap<string, Form> = new Map<string, Form>([
  ...['set', 'add', 'replace', 'append', 'prepend'].map((name) => [name, STORE] as const),
  ['cas', { ...STORE, least: 5, most: 5, numbers: [...(STORE.numbers ?? []), [4, U64]] }],
  ...['incr', 'decr'].map((name) => [name, COUNT] as const),
  ['touch', { ...COUNT, numbers: [[1, TIME]] }],
  ...['get', 'gets'].map((name) => [name, GET] as const),
  ...['gat', 'gats'].map((name) => [name, GAT] as const),
  // The time that old versions took must be 0.
  ['delete', { least: 1, most: 2, keys: FIRST, numbers: [[1, TIME]], noreply: true, answer: 'line' }],
  ...['flush_all', 'cache_memlimit', 'verbosity'].map(
    (name) => [name, { ...ADMIN, most: 1, noreply: true }] as const,
  ),
  ...['slabs', 'lru', 'misbehave'].map((name) => [name, ADMIN] as const),
  ['version', { ...ADMIN, most: 0 }],
  ['quit', { ...ADMIN, most: 0, answer: 'none' }],
  ['stats', { ...ADMIN, answer: 'list' }],
  ['lru_crawler', { ...ADMIN, answer: 'list' }],
  ['watch', { ...ADMIN, answer: 'forever' }],
]);

/**
 * Reads the line of a request.
 * @param line without its CRLF, a byte a character
 * @returns undefined for what is no request
 */
export function readTextRequest(line: string): TextRequest | undefined {
  if (!/^[!-~\x80-\xff]+(?: [!-~\x80-\xff]+)*$/.test(line)) return undefined;
  const [command = '', ...rest] = line.split(' ');
  const form = FORMS.get(command);
  if (form === undefined) return undefined;
  // With a number of words that may vary, the last one decides; a key may be called `noreply`.
  const silent = form.noreply && rest.length > form.least && rest.at(-1) === 'noreply';
  const words = silent ? rest.slice(0, -1) : rest;
  if (words.length < form.least || words.length > form.most) return undefined;
  const numbers = form.numbers ?? [];
  if (numbers.some(([place, range]) => !isIn(range, words[place]))) return undefined;
  const keys = keysOf(form, words);
  if (keys.some((key) => key.length > MAX_KEY_LENGTH)) return undefined;
  const length = form.length === undefined ? undefined : (words[form.length] ?? '');
  if (length !== undefined && (!NUMBER.test(length) || Number(length) > MAX_DATA_BYTES)) return undefined;
  return {
    command,
    keys,
    dataBytes: length === undefined ? 0 : Number(length) + 2,
    answer: silent ? 'none' : form.answer,
  };
}

/** Whether a word, if it is there, is a number of the range. */
function isIn({ least, most }: Range, word: string | undefined): boolean {
  if (word === undefined) return true;
  if (!(least < 0n ? SIGNED : NUMBER).test(word)) return false;
  const number = BigInt(word);
  return number >= least && number <= most;
}

function keysOf({ keys }: Form, words: readonly string[]): readonly string[] {
  if (keys === undefined) return [];
  return keys.many ? words.slice(keys.from) : words.slice(keys.from, keys.from + 1);
}
