import { RE2JS } from 're2js';
import { errorText } from '../../base/errors.ts';
import type { PairRule } from '../../model/l7.ts';
import { CassandraAnswers } from './cassandra-answers.ts';
import { BodyReader, ErrorCode, errorFrame, Flag, HEADER_BYTES, Opcode } from './cassandra-frames.ts';
import { type CqlStatement, readCql } from './cassandra-query.ts';
import type { Dialect, Exchange, SpokenProtocol } from './connection.ts';
import { isFound } from './find.ts';

/** What rules look at; without an action it is a request that only opens or closes a session, as `use` is. */
export interface CassandraRequest {
  readonly action: string;
  /** `keyspace.table`; empty for actions without. */
  readonly table: string;
}

const SESSION: CassandraRequest = { action: '', table: '' };
/** A request is held whole until it is judged. */
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
const VERSIONS = [3, 4];
const SESSION_OPCODES: readonly number[] = [
  ...[Opcode.startup, Opcode.options, Opcode.register, Opcode.authResponse],
];

interface Head {
  readonly version: number;
  readonly flags: number;
  readonly stream: number;
  readonly opcode: number;
}

/** Statements to judge, or the answer to a request that cannot be. */
type Reading =
  | { readonly requests: readonly CassandraRequest[]; readonly pending?: CqlStatement }
  | { readonly answer: Buffer };

/** One connection of Cassandra. Answers may come in any order; refusals go between them. */
class CassandraDialect implements Dialect {
  readonly #exchange: Exchange<CassandraRequest>;
  readonly #answers: CassandraAnswers;
  /** What is looked at, and what came behind it: joined only when a request can be whole, in linear time so. */
  #rest: Buffer = Buffer.alloc(0);
  #more: Buffer[] = [];
  #moreBytes = 0;
  /** Bytes of the request in work; 0: not known. */
  #wanted = 0;
  #bad = false;
  /** A USE is next, and waits for answers. */
  #holdsUse = false;

  constructor(exchange: Exchange<CassandraRequest>) {
    this.#exchange = exchange;
    this.#answers = new CassandraAnswers((bytes) => exchange.toClient(bytes));
  }

  get begun(): boolean {
    return this.#rest.length + this.#moreBytes > 0 && !this.blocked;
  }

  /**
   * While a USE is on its way nobody knows of which keyspace the next statement is. Nor of which one is that a server
   * still works on: it may do so behind a USE that came later, which therefore waits.
   */
  get blocked(): boolean {
    return this.#answers.changesKeyspace || (this.#holdsUse && !this.#answers.idle);
  }

  fromClient(chunk: Buffer): void {
    this.#more.push(chunk);
    this.#moreBytes += chunk.length;
    if (this.blocked || this.#rest.length + this.#moreBytes < this.#wanted) return;
    const only = this.#rest.length === 0 && this.#more.length === 1 ? this.#more[0] : undefined;
    this.#rest = only ?? Buffer.concat([this.#rest, ...this.#more]);
    this.#more = [];
    this.#moreBytes = 0;
    this.#wanted = 0;
    while (!this.#bad && !this.blocked && this.#nextFrame());
  }

  #nextFrame(): boolean {
    const bytes = this.#rest;
    if (bytes.length === 0) return false;
    const version = bytes[0] as number;
    if (!VERSIONS.includes(version)) {
      const shown = version & 0x7f;
      const message = `Invalid or unsupported protocol version (${shown}); supported versions are (3/v3, 4/v4)`;
      return this.#refuse({ version: 4, stream: 0 }, message);
    }
    if (bytes.length < HEADER_BYTES) return false;
    const flags = bytes[1] as number;
    const head = { version, flags, stream: bytes.readUInt16BE(2), opcode: bytes[4] as number };
    const length = bytes.readUInt32BE(5);
    if ((flags & ~(Flag.tracing | Flag.payload)) !== 0)
      return this.#refuse(head, 'compression and unknown flags are not read');
    if (length > MAX_REQUEST_BYTES) return this.#refuse(head, 'the request is too long');
    this.#wanted = HEADER_BYTES + length;
    if (bytes.length < this.#wanted) return false;
    const frame = bytes.subarray(0, this.#wanted);
    this.#wanted = 0;
    this.#rest = bytes.subarray(frame.length);
    this.#holdsUse = false;
    const goesOn = this.#onFrame(head, frame);
    if (this.#holdsUse) this.#rest = bytes;
    return goesOn;
  }

  #onFrame(head: Head, frame: Buffer): boolean {
    let reading: Reading | string;
    try {
      reading = this.#read(head, frame.subarray(HEADER_BYTES));
    } catch (error) {
      reading = errorText(error);
    }
    if (typeof reading === 'string') return this.#refuse(head, reading);
    if ('answer' in reading) {
      this.#answers.answer(reading.answer);
      return true;
    }
    this.#holdsUse = reading.pending?.action === 'use' && !this.#answers.idle;
    if (this.#holdsUse) return false;
    if (!this.#exchange.judge(reading.requests)) {
      this.#answers.answer(errorFrame(head, ErrorCode.unauthorized, 'Request Unauthorized'));
      return true;
    }
    const { pending } = reading;
    if (
      pending !== undefined &&
      !this.#answers.expect(head.stream, head.opcode === Opcode.prepare, this.#request(pending))
    )
      return this.#refuse(head, 'the stream is in use');
    this.#answers.sent(head.stream);
    this.#exchange.toServer(frame);
    return true;
  }

  /** @returns why the request cannot be read, as text. @throws RangeError */
  #read(head: Head, bytes: Buffer): Reading | string {
    const body = new BodyReader(bytes);
    body.skipExtras(head.flags, false);
    switch (head.opcode) {
      case Opcode.query:
      case Opcode.prepare:
        return this.#readQuery(head, body.longString());
      case Opcode.execute:
        return this.#readPrepared(head, body.shortBytes());
      case Opcode.batch:
        return this.#readBatch(head, body);
      case Opcode.startup:
        return this.#readStartup(body);
      default:
        return SESSION_OPCODES.includes(head.opcode) ? { requests: [SESSION] } : 'no request of Cassandra';
    }
  }

  #readStartup(body: BodyReader): Reading | string {
    for (let left = body.short(); left > 0; left--) {
      if (body.string().toUpperCase() === 'COMPRESSION') return 'compression is not read: turn it off';
      body.string();
    }
    return { requests: [SESSION] };
  }

  #readQuery(head: Head, cql: string): Reading {
    const statement = readCql(cql);
    const isUse = statement?.action === 'use';
    if (statement === undefined || (isUse && head.opcode === Opcode.prepare)) return this.#unreadable(head);
    if (isUse) return { requests: [SESSION], pending: statement };
    const requests = [this.#request(statement)];
    return head.opcode === Opcode.prepare ? { requests, pending: statement } : { requests };
  }

  #readPrepared(head: Head, id: string): Reading {
    const request = this.#answers.prepared(id);
    if (request !== undefined) return { requests: [request] };
    return { answer: errorFrame(head, ErrorCode.unprepared, 'Prepare it on this connection first', id) };
  }

  #readBatch(head: Head, body: BodyReader): Reading | string {
    const requests: CassandraRequest[] = [];
    body.byte();
    for (let left = body.short(); left > 0; left--) {
      const kind = body.byte();
      if (kind > 1) return 'no batch of Cassandra';
      const reading =
        kind === 0 ? this.#readQuery(head, body.longString()) : this.#readPrepared(head, body.shortBytes());
      if ('answer' in reading) return reading;
      if (reading.pending !== undefined) return this.#unreadable(head);
      requests.push(...reading.requests);
      for (let values = body.short(); values > 0; values--) body.skipValue();
    }
    return { requests: requests.length === 0 ? [SESSION] : requests };
  }

  /** What rules have no word for is denied, whatever they allow. */
  #unreadable(head: Head): Reading {
    return { answer: errorFrame(head, ErrorCode.unauthorized, 'Request Unauthorized: it cannot be judged') };
  }

  #request({ action, keyspace, name }: CqlStatement): CassandraRequest {
    if (name === '') return { action, table: '' };
    if (action.endsWith('-keyspace')) return { action, table: name };
    return { action, table: `${keyspace ?? this.#answers.keyspace}.${name}` };
  }

  #refuse(head: { readonly version: number; readonly stream: number }, reason: string): false {
    this.#bad = true;
    this.#answers.answer(errorFrame(head, ErrorCode.protocol, reason));
    this.#exchange.refuse(reason);
    return false;
  }

  fromServer(chunk: Buffer): void {
    const problem = this.#answers.onServer(chunk);
    if (problem !== undefined) this.#exchange.refuse(problem);
    else if (!this.blocked) this.fromClient(Buffer.alloc(0));
  }
}

/** Cassandra, native protocol 3 and 4. */
export const cassandra: SpokenProtocol<CassandraRequest> = {
  kind: 'cassandra',
  compile({ query_action = '', query_table = '' }: PairRule) {
    const regex = query_table === '' ? undefined : RE2JS.compile(query_table);
    return ({ action, table }) =>
      action === '' ||
      ((query_action === '' || query_action === action) &&
        (table === '' || regex === undefined || isFound(regex, table)));
  },
  fields: ({ action, table }) => (action === '' ? undefined : { query_action: action, query_table: table }),
  open: (exchange) => new CassandraDialect(exchange),
};
