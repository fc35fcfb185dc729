import { formatIp } from '../../base/ip.ts';
import { CLASS_IN, Flag, HEADER_BYTES, Rcode, RecordType } from './constants.ts';
import type { DnsQuery } from './query.ts';
import { DnsFormatError, readName, skipName } from './wire-name.ts';

/** What an answer says of the name that was asked for. */
export interface DnsAnswer {
  readonly rcode: number;
  readonly truncated: boolean;
  /** The name asked for, and those that it leads to by CNAME, in order; lower case, without the final dot. */
  readonly names: readonly string[];
  /** Of the names above, without repetition: A, AAAA, and hints of SVCB and HTTPS. */
  readonly addresses: readonly string[];
  /** The smallest on the way; 0 without addresses. */
  readonly ttlSeconds: number;
}

export type AnswerReading =
  | { readonly kind: 'answer'; readonly answer: DnsAnswer }
  /** Not one to this query. */
  | { readonly kind: 'other'; readonly reason: 'id' | 'question' }
  | { readonly kind: 'malformed'; readonly reason: string };

interface AnswerRecord {
  readonly type: number;
  readonly ttlSeconds: number;
  /** Offsets of the data. */
  readonly start: number;
  readonly end: number;
}

/** More CNAMEs than any resolver follows. */
const MAX_CHAIN = 32;
const RECORD_FIXED_BYTES = 10;
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [RecordType.A, 4],
  [RecordType.AAAA, 16],
]);
const HINT = { ipv4: 4, ipv6: 6 } as const;

const word = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** RFC 2181 §8: a TTL with the first bit set is 0. */
function ttlAt(bytes: Uint8Array, at: number): number {
  const high = word(bytes, at);
  return high >= 0x8000 ? 0 : high * 0x10000 + word(bytes, at + 2);
}

/** @throws DnsFormatError */
function recordAt(bytes: Uint8Array, at: number): AnswerRecord & { readonly class: number } {
  const start = at + RECORD_FIXED_BYTES;
  const end = start + word(bytes, at + 8);
  if (end > bytes.length) throw new DnsFormatError('a record is cut off');
  return { type: word(bytes, at), class: word(bytes, at + 2), ttlSeconds: ttlAt(bytes, at + 4), start, end };
}

/** The records of class IN of the answer section by owner. @throws DnsFormatError, also for what follows that section */
function readRecords(bytes: Uint8Array, start: number): ReadonlyMap<string, readonly AnswerRecord[]> {
  const records = new Map<string, AnswerRecord[]>();
  let at = start;
  for (let left = word(bytes, 6); left > 0; left--) {
    const owner = readName(bytes, at, true);
    const record = recordAt(bytes, owner.end);
    at = record.end;
    if (record.class !== CLASS_IN) continue;
    const list = records.get(owner.text);
    if (list === undefined) records.set(owner.text, [record]);
    else list.push(record);
  }
  for (let left = word(bytes, 8) + word(bytes, 10); left > 0; left--)
    at = recordAt(bytes, skipName(bytes, at)).end;
  return records;
}

function addressesOfHints(bytes: Uint8Array, { start, end }: AnswerRecord): string[] {
  const addresses: string[] = [];
  // Priority, then the target's name, then parameters: key, length, value.
  let at = skipName(bytes, start + 2);
  while (at + 4 <= end) {
    const key = word(bytes, at);
    const stop = at + 4 + word(bytes, at + 2);
    if (stop > end) throw new DnsFormatError('a parameter is cut off');
    const size = key === HINT.ipv4 ? 4 : 16;
    if (key === HINT.ipv4 || key === HINT.ipv6)
      for (let i = at + 4; i + size <= stop; i += size) addresses.push(formatIp(bytes.slice(i, i + size)));
    at = stop;
  }
  return addresses;
}

/** @throws DnsFormatError */
function addressesOf(bytes: Uint8Array, record: AnswerRecord): string[] {
  const { type, start, end } = record;
  const size = ADDRESS_BYTES.get(type);
  if (size === undefined)
    return type === RecordType.HTTPS || type === RecordType.SVCB ? addressesOfHints(bytes, record) : [];
  if (end - start !== size) throw new DnsFormatError('an address of wrong length');
  return [formatIp(bytes.slice(start, end))];
}

type Found = Pick<DnsAnswer, 'names' | 'addresses' | 'ttlSeconds'>;

/** Follows CNAMEs from `name` and takes the addresses of every name on the way; other records do not count. */
function follow(
  bytes: Uint8Array,
  records: ReadonlyMap<string, readonly AnswerRecord[]>,
  name: string,
): Found {
  const names = [name];
  const addresses = new Set<string>();
  let ttlSeconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < names.length; i++) {
    for (const record of records.get(names[i] ?? '') ?? []) {
      const found = addressesOf(bytes, record);
      for (const address of found) addresses.add(address);
      if (record.type === RecordType.CNAME) {
        const { text, end } = readName(bytes, record.start, true);
        if (end !== record.end) throw new DnsFormatError('a CNAME of wrong length');
        if (!names.includes(text) && names.length < MAX_CHAIN) names.push(text);
      } else if (found.length === 0) continue;
      ttlSeconds = Math.min(ttlSeconds, record.ttlSeconds);
    }
  }
  return { names, addresses: [...addresses], ttlSeconds: addresses.size === 0 ? 0 : ttlSeconds };
}

function sameBytes(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  if (at + wanted.length > bytes.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

/** A truncated answer is to be asked for again; what there is of it counts for nothing when it cannot be read. */
function readTruncated(query: DnsQuery, rcode: number): DnsAnswer {
  return { rcode, truncated: true, names: [query.name], addresses: [], ttlSeconds: 0 };
}

/** The id of a message, which tells to which query an answer may belong; undefined when it is shorter than a header. */
export function answerId(bytes: Uint8Array): number | undefined {
  return bytes.length < HEADER_BYTES ? undefined : word(bytes, 0);
}

/**
 * Reads what a server sent to `query`. It is an answer only if it has the id and, byte by byte, the question: letters in
 * the case that the client chose (0x20) are a secret that a forger has to guess. Never throws.
 */
export function readAnswer(bytes: Uint8Array, query: DnsQuery): AnswerReading {
  if (bytes.length < HEADER_BYTES) return { kind: 'malformed', reason: 'shorter than a header' };
  if (word(bytes, 0) !== query.id) return { kind: 'other', reason: 'id' };
  const flags = word(bytes, 2);
  if ((flags & (Flag.response | Flag.opcode)) !== Flag.response)
    return { kind: 'malformed', reason: 'not an answer to a QUERY' };
  if (word(bytes, 4) !== 1 || !sameBytes(bytes, HEADER_BYTES, query.question))
    return { kind: 'other', reason: 'question' };
  const rcode = flags & Flag.rcode;
  const truncated = (flags & Flag.truncated) !== 0;
  try {
    const records = readRecords(bytes, HEADER_BYTES + query.question.length);
    const found = follow(bytes, records, query.name);
    const known = rcode === Rcode.noError ? found : { ...found, addresses: [], ttlSeconds: 0 };
    return { kind: 'answer', answer: { rcode, truncated, ...known } };
  } catch (error) {
    if (!(error instanceof DnsFormatError)) throw error;
    if (truncated) return { kind: 'answer', answer: readTruncated(query, rcode) };
    return { kind: 'malformed', reason: error.message };
  }
}
