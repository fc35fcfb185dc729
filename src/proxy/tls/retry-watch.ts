import { ClientHelloReader, type HelloReading } from './client-hello.ts';

const HANDSHAKE = 22;
const SERVER_HELLO = 2;
const RANDOM_AT = 11;
/** The random of a ServerHello that asks for another hello: SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3). */
const RETRY_RANDOM = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
const ANSWER_BYTES = RANDOM_AT + RETRY_RANDOM.length;

const RECORD_HEADER_BYTES = 5;
/** What may come before the second hello: a change of cipher for old middleboxes, and early data, which is then void. */
const SKIPPED_TYPES: readonly (number | undefined)[] = [20, 23];
const MAX_SKIPPED_BYTES = 65_536;

/** Whether a server's first bytes ask for another hello; undefined: more are needed. */
function asksAgain(answer: Buffer): boolean | undefined {
  const differs = (at: number, byte: number): boolean => answer.length > at && answer[at] !== byte;
  if (differs(0, HANDSHAKE) || differs(RECORD_HEADER_BYTES, SERVER_HELLO)) return false;
  const random = answer.subarray(RANDOM_AT, ANSWER_BYTES);
  if (!random.equals(RETRY_RANDOM.subarray(0, random.length))) return false;
  return random.length === RETRY_RANDOM.length ? true : undefined;
}

/** What to do with bytes of the client: wait for more, pass these, or judge first. */
export type Watched =
  | { readonly kind: 'wait' }
  | { readonly kind: 'pass'; readonly bytes: Buffer }
  | { readonly kind: 'judge'; readonly bytes: Buffer; readonly reading: HelloReading };

const WAIT: Watched = { kind: 'wait' };

/**
 * Looks for the second hello of a handshake, which may name another server than the first, where servers let it (RFC 8446
 * §4.1.2 does not):
 * 1. what the client sends behind its hello waits until the server has answered;
 * 2. if that asks for another hello, the client's bytes wait until that one is whole;
 * 3. from there nothing is looked at: no server asks twice.
 */
export class RetryWatch {
  #answer: Buffer = Buffer.alloc(0);
  #asked: boolean | undefined;
  #held: Buffer = Buffer.alloc(0);
  /** Where in `#held` the next record begins that may be the hello. */
  #at = 0;
  #hello: ClientHelloReader | undefined;

  /** Whether the server has to answer before the client's bytes can be of use. */
  get awaitsServer(): boolean {
    return this.#asked === undefined;
  }

  /** @returns what to do with the client's bytes, once that is known */
  fromServer(chunk: Buffer): Watched {
    if (this.#asked !== undefined) return WAIT;
    this.#answer = Buffer.concat([this.#answer, chunk.subarray(0, ANSWER_BYTES - this.#answer.length)]);
    this.#asked = asksAgain(this.#answer);
    return this.#look();
  }

  fromClient(chunk: Buffer): Watched {
    this.#held = Buffer.concat([this.#held, chunk]);
    return this.#look();
  }

  #look(): Watched {
    if (this.#asked === undefined) return WAIT;
    if (!this.#asked) return { kind: 'pass', bytes: this.#held };
    const reading = this.#read();
    return reading.kind === 'more' ? WAIT : { kind: 'judge', bytes: this.#held, reading };
  }

  #read(): HelloReading {
    while (this.#hello === undefined) {
      const rest = this.#held.subarray(this.#at);
      if (!SKIPPED_TYPES.includes(rest[0])) {
        if (rest.length === 0) return { kind: 'more' };
        this.#hello = new ClientHelloReader();
        break;
      }
      const end = rest.length < RECORD_HEADER_BYTES ? undefined : RECORD_HEADER_BYTES + rest.readUInt16BE(3);
      if (this.#at + (end ?? 0) > MAX_SKIPPED_BYTES) return { kind: 'bad', reason: 'no second hello' };
      if (end === undefined || rest.length < end) return { kind: 'more' };
      this.#at += end;
    }
    const fresh = this.#held.subarray(this.#at);
    this.#at = this.#held.length;
    return this.#hello.take(fresh);
  }
}
