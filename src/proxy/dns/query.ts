import { Flag, HEADER_BYTES, Rcode, RecordType } from './constants.ts';
import { DnsFormatError, readName } from './wire-name.ts';

/** A query that is well formed and of a kind that the proxy passes on. */
export interface DnsQuery {
  readonly id: number;
  readonly flags: number;
  /** Lower case, without the final dot. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Name, type and class as they were sent: a copy, letters in the case that the client chose. */
  readonly question: Uint8Array;
}

export type QueryReading =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  /** Not passed on: answered with `rcode`, or not at all when there is none. */
  | { readonly kind: 'refuse'; readonly rcode: number | undefined; readonly reason: string };

const MAX_ADDITIONAL = 2;
/** Type, class, TTL and length of data, after a record's name. */
const RECORD_FIXED_BYTES = 10;

const word = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

function refuse(rcode: number | undefined, reason: string): QueryReading {
  return { kind: 'refuse', rcode, reason };
}

/** Walks the additional records of a query: EDNS and signatures. @returns offset of their end. @throws DnsFormatError */
function skipAdditional(bytes: Uint8Array, start: number, count: number): number {
  let at = start;
  let options = 0;
  for (let i = 0; i < count; i++) {
    const { text, end } = readName(bytes, at, false);
    if (end + RECORD_FIXED_BYTES > bytes.length) throw new DnsFormatError('a record is cut off');
    if (word(bytes, end) === RecordType.OPT && (text !== '' || ++options > 1))
      throw new DnsFormatError('more than one OPT record, or one with a name');
    at = end + RECORD_FIXED_BYTES + word(bytes, end + 8);
    if (at > bytes.length) throw new DnsFormatError('a record is cut off');
  }
  return at;
}

/** What is wrong with the header of a query. */
function headerProblem(bytes: Uint8Array, flags: number): QueryReading | undefined {
  if ((flags & Flag.opcode) !== 0) return refuse(Rcode.notImplemented, 'not a QUERY');
  if ((flags & (Flag.truncated | Flag.authoritative | Flag.rcode)) !== 0)
    return refuse(Rcode.formatError, 'flags of an answer');
  if (word(bytes, 4) !== 1) return refuse(Rcode.formatError, `${word(bytes, 4)} questions`);
  if (word(bytes, 6) !== 0 || word(bytes, 8) !== 0) return refuse(Rcode.formatError, 'answers in a query');
  if (word(bytes, 10) > MAX_ADDITIONAL) return refuse(Rcode.formatError, 'too many additional records');
  return undefined;
}

/** @throws DnsFormatError */
function readBody(bytes: Uint8Array, flags: number): QueryReading {
  const { text, end } = readName(bytes, HEADER_BYTES, false);
  if (end + 4 > bytes.length) throw new DnsFormatError('the question is cut off');
  const type = word(bytes, end);
  if (skipAdditional(bytes, end + 4, word(bytes, 10)) !== bytes.length)
    throw new DnsFormatError('bytes after the query');
  if (type === RecordType.AXFR || type === RecordType.IXFR)
    return refuse(Rcode.notImplemented, 'zone transfers are not passed on');
  if (type === RecordType.OPT) return refuse(Rcode.formatError, 'a question for OPT');
  const query = {
    id: word(bytes, 0),
    flags,
    name: text,
    type,
    class: word(bytes, end + 2),
    question: Uint8Array.prototype.slice.call(bytes, HEADER_BYTES, end + 4),
  };
  return { kind: 'query', query };
}

/** Reads what a client sent. Strict: what is passed on can be understood in one way only. Never throws. */
export function readQuery(bytes: Uint8Array): QueryReading {
  if (bytes.length < HEADER_BYTES) return refuse(undefined, 'shorter than a header');
  const flags = word(bytes, 2);
  // Answering an answer could go on for ever between two that do so.
  if ((flags & Flag.response) !== 0) return refuse(undefined, 'an answer instead of a query');
  const problem = headerProblem(bytes, flags);
  if (problem !== undefined) return problem;
  try {
    return readBody(bytes, flags);
  } catch (error) {
    if (error instanceof DnsFormatError) return refuse(Rcode.formatError, error.message);
    throw error;
  }
}

/** The words of a header that an answer repeats. @param bytes at least a header */
export function headerOf(bytes: Uint8Array): Pick<DnsQuery, 'id' | 'flags'> {
  return { id: word(bytes, 0), flags: word(bytes, 2) };
}

/**
 * An answer of the proxy's own.
 * @param question copied into the answer; undefined when it could not be read
 */
export function errorAnswer(
  { id, flags }: Pick<DnsQuery, 'id' | 'flags'>,
  rcode: number,
  question?: Uint8Array,
): Uint8Array {
  const answer = new Uint8Array(HEADER_BYTES + (question?.length ?? 0));
  const kept = flags & (Flag.opcode | Flag.recursionDesired);
  const words = [id, Flag.response | kept | Flag.recursionAvailable | rcode, question === undefined ? 0 : 1];
  for (const [i, value] of words.entries()) answer.set([value >> 8, value & 0xff], 2 * i);
  if (question !== undefined) answer.set(question, HEADER_BYTES);
  return answer;
}
