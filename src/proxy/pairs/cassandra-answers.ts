import { errorText } from '../../base/errors.ts';
import { BodyReader, Flag, HEADER_BYTES, Opcode } from './cassandra-frames.ts';

const MAX_KEPT_BYTES = 16 * 1024 * 1024;
/** Prepared statements that one connection is known by; clients prepare again what is forgotten. */
const MAX_PREPARED = 4096;
const SET_KEYSPACE = 3;
const PREPARED = 4;

interface Request {
  readonly action: string;
  readonly table: string;
}

interface Pending {
  readonly isPrepare: boolean;
  readonly request: Request;
}

/** Follows the server's frames: passes them on, and learns of keyspaces and prepared statements. */
export class CassandraAnswers {
  readonly #toClient: (bytes: Buffer) => void;
  /** By stream. */
  readonly #pending = new Map<number, Pending>();
  readonly #prepared = new Map<string, Request>();
  /** Requests that wait for their answers, by stream. */
  readonly #inFlight = new Map<number, number>();
  readonly #own: Buffer[] = [];
  #uses = 0;
  /** Of the connection, as the server told last; empty before. */
  keyspace = '';
  #head: Buffer = Buffer.alloc(0);
  #remaining = 0;
  /** Parts of a body that is read; undefined: it is only passed on. */
  #kept: Buffer[] | undefined;

  constructor(toClient: (bytes: Buffer) => void) {
    this.#toClient = toClient;
  }

  get changesKeyspace(): boolean {
    return this.#uses > 0;
  }

  /** Whether every request is answered. */
  get idle(): boolean {
    return this.#inFlight.size === 0;
  }

  /** A request goes to the server. */
  sent(stream: number): void {
    this.#inFlight.set(stream, (this.#inFlight.get(stream) ?? 0) + 1);
  }

  prepared(id: string): Request | undefined {
    return this.#prepared.get(id);
  }

  /** The answer to this PREPARE or USE matters. @returns whether no other one is waited for on the stream */
  expect(stream: number, isPrepare: boolean, request: Request): boolean {
    if (this.#pending.has(stream)) return false;
    this.#pending.set(stream, { isPrepare, request });
    if (!isPrepare) this.#uses++;
    return true;
  }

  /** An answer of the proxy's own, between the server's. */
  answer(own: Buffer): void {
    if (this.#head.length === 0) this.#toClient(own);
    else this.#own.push(own);
  }

  /** @returns why the bytes cannot be answers; undefined: they are */
  onServer(chunk: Buffer): string | undefined {
    for (let at = 0; at < chunk.length; ) {
      if (this.#head.length < HEADER_BYTES) {
        const wanted = HEADER_BYTES - this.#head.length;
        this.#head = Buffer.concat([this.#head, chunk.subarray(at, at + wanted)]);
        at = Math.min(at + wanted, chunk.length);
        if (this.#head.length < HEADER_BYTES) break;
        const problem = this.#begin(this.#head);
        if (problem !== undefined) return problem;
      } else {
        const part = chunk.subarray(at, at + this.#remaining);
        this.#kept?.push(part);
        this.#toClient(part);
        this.#remaining -= part.length;
        at += part.length;
      }
      if (this.#remaining > 0) continue;
      const problem = this.#end();
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #begin(head: Buffer): string | undefined {
    if (((head[0] as number) & 0x80) === 0) return 'an answer of the server that cannot be read';
    this.#remaining = head.readUInt32BE(5);
    const matters = this.#pending.has(head.readUInt16BE(2)) && head[4] !== Opcode.event;
    if (matters && this.#remaining > MAX_KEPT_BYTES) return 'an answer of the server that is too long';
    this.#kept = matters ? [] : undefined;
    this.#toClient(head);
    return undefined;
  }

  #end(): string | undefined {
    const head = this.#head;
    const kept = this.#kept;
    this.#head = Buffer.alloc(0);
    this.#kept = undefined;
    if (head[4] !== Opcode.event) this.#answered(head.readUInt16BE(2));
    try {
      if (kept !== undefined) this.#learn(head, Buffer.concat(kept));
    } catch (error) {
      return `an answer of the server that cannot be read: ${errorText(error)}`;
    }
    for (const own of this.#own.splice(0)) this.#toClient(own);
    return undefined;
  }

  #answered(stream: number): void {
    const left = (this.#inFlight.get(stream) ?? 0) - 1;
    if (left > 0) this.#inFlight.set(stream, left);
    else this.#inFlight.delete(stream);
  }

  /** @throws RangeError */
  #learn(head: Buffer, bytes: Buffer): void {
    const stream = head.readUInt16BE(2);
    const pending = this.#pending.get(stream);
    this.#pending.delete(stream);
    if (pending === undefined) return;
    if (!pending.isPrepare) this.#uses--;
    const flags = head[1] as number;
    if (head[4] !== Opcode.result || (flags & Flag.compressed) !== 0) return;
    const body = new BodyReader(bytes);
    body.skipExtras(flags, true);
    const kind = body.int();
    if (kind === SET_KEYSPACE && !pending.isPrepare) this.keyspace = body.string();
    if (kind !== PREPARED || !pending.isPrepare) return;
    const [oldest] = this.#prepared.keys();
    if (this.#prepared.size >= MAX_PREPARED && oldest !== undefined) this.#prepared.delete(oldest);
    this.#prepared.set(body.shortBytes(), pending.request);
  }
}
