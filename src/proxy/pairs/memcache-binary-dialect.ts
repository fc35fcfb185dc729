import type { Dialect, Exchange } from './connection.ts';
import {
  BinaryAnswers,
  denialOf,
  HEADER_BYTES,
  invalidOf,
  REQUEST_MAGIC,
} from './memcache-binary-answers.ts';
import { MAX_PIPELINED, type MemcacheRequest } from './memcache-request.ts';

const MAX_KEY_BYTES = 250;
const MAX_BODY_BYTES = 1024 * 1024 * 1024;

interface Body {
  remaining: number;
  readonly passes: boolean;
}

/** One connection in memcached's binary protocol. A request is judged when its key is there; its value is not kept. */
export class BinaryDialect implements Dialect {
  readonly #exchange: Exchange<MemcacheRequest>;
  readonly #answers: BinaryAnswers;
  #rest: Buffer = Buffer.alloc(0);
  #body: Body | undefined;
  #bad = false;

  constructor(exchange: Exchange<MemcacheRequest>) {
    this.#exchange = exchange;
    this.#answers = new BinaryAnswers(
      (bytes) => exchange.toClient(bytes),
      (bytes) => exchange.toServer(bytes),
    );
  }

  get begun(): boolean {
    return this.#rest.length > 0 || this.#body !== undefined;
  }

  get blocked(): boolean {
    return this.#answers.waiting >= MAX_PIPELINED;
  }

  fromClient(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (!this.#bad && (this.#body === undefined ? this.#nextRequest() : this.#nextBody(this.#body)));
  }

  #nextRequest(): boolean {
    const bytes = this.#rest;
    if (bytes.length < HEADER_BYTES) return false;
    const opcode = bytes[1] as number;
    const opaque = bytes.readUInt32BE(12);
    const keyBytes = bytes.readUInt16BE(2);
    const before = HEADER_BYTES + (bytes[4] as number);
    const bodyBytes = bytes.readUInt32BE(8);
    const odd = bytes[0] !== REQUEST_MAGIC || bytes[5] !== 0 || keyBytes > MAX_KEY_BYTES;
    if (odd || bodyBytes > MAX_BODY_BYTES || before + keyBytes > HEADER_BYTES + bodyBytes) {
      this.#bad = true;
      this.#answers.answer(invalidOf(opcode, opaque));
      this.#exchange.refuse('no request of memcached');
      return false;
    }
    if (bytes.length < before + keyBytes) return false;
    const key = bytes.toString('latin1', before, before + keyBytes);
    const passes = this.#exchange.judge([{ kind: 'binary', opcode, keys: [key] }]);
    if (passes) {
      this.#answers.expect(opcode, opaque);
      this.#exchange.toServer(bytes.subarray(0, before + keyBytes));
    } else this.#answers.answer(denialOf(opcode, opaque));
    this.#rest = bytes.subarray(before + keyBytes);
    this.#body = { remaining: HEADER_BYTES + bodyBytes - before - keyBytes, passes };
    return true;
  }

  #nextBody(body: Body): boolean {
    const part = this.#rest.subarray(0, body.remaining);
    this.#rest = this.#rest.subarray(part.length);
    body.remaining -= part.length;
    if (body.passes && part.length > 0) this.#exchange.toServer(part);
    if (body.remaining > 0) return false;
    this.#body = undefined;
    return true;
  }

  fromServer(chunk: Buffer): void {
    const problem = this.#answers.onServer(chunk);
    if (problem !== undefined) this.#exchange.refuse(problem);
  }
}
