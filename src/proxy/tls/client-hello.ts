import { foldDnsName } from '../../model/dns-pattern.ts';
import { ByteCursor, ShapeError } from './byte-cursor.ts';

/** Of the message, its header not counted; those of clients with post-quantum keys have about 2 KiB. */
export const MAX_HELLO_BYTES = 32_768;
const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
/** RFC 8446 §5.1. */
const MAX_RECORD_BYTES = 16_384;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
/** First byte of every version from SSL 3.0 to TLS 1.3 on the wire. */
const MAJOR_VERSION = 3;
const RANDOM_BYTES = 32;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const U16_MAX = 0xffff;
/** RFC 6066 §3: a name of DNS without the final dot; RFC 1035 §2.3.4 has its length. */
const NAME = /^[-A-Za-z0-9_]{1,63}(?:\.[-A-Za-z0-9_]{1,63})*$/;
const LONGEST_NAME = 253;

/** Whether a hello may ask for the name; another one is refused. */
export function isServerName(name: string): boolean {
  return name.length <= LONGEST_NAME && NAME.test(name);
}

/** What the first bytes of a connection turned out to be. */
export type HelloReading =
  | { readonly kind: 'more' }
  /** A whole hello; lower case, undefined where it names no server. */
  | { readonly kind: 'hello'; readonly serverName: string | undefined }
  /** No TLS, or none that every server would read alike. */
  | { readonly kind: 'bad'; readonly reason: string };

const MORE: HelloReading = { kind: 'more' };

/** The name of the extension `server_name`. Two names, or one of another type, are refused. @throws ShapeError */
function readServerName(data: Buffer): string {
  const extension = new ByteCursor(data);
  const list = new ByteCursor(extension.vector(2, { least: 1, most: U16_MAX }, 'list of server names'));
  extension.end('list of server names');
  const type = list.number(1, 'the type of the server name');
  if (type !== HOST_NAME) throw new ShapeError(`a server name of type ${type}`);
  const name = list.vector(2, { least: 1, most: U16_MAX }, 'server name').toString('latin1');
  if (!list.atEnd) throw new ShapeError('more than one server name');
  if (!isServerName(name)) throw new ShapeError('the server name is no host name');
  return foldDnsName(name);
}

/** @throws ShapeError */
function readExtensions(bytes: Buffer): string | undefined {
  const extensions = new ByteCursor(bytes);
  const seen = new Set<number>();
  let serverName: string | undefined;
  while (!extensions.atEnd) {
    const type = extensions.number(2, 'the type of an extension');
    const data = extensions.vector(2, { least: 0, most: U16_MAX }, 'extension');
    if (seen.has(type)) throw new ShapeError(`extension ${type} twice`);
    seen.add(type);
    if (type === SERVER_NAME) serverName = readServerName(data);
  }
  return serverName;
}

/**
 * Reads the body of a ClientHello (RFC 8446 §4.1.2) as far as it takes to know whom it asks for: of one with an encrypted
 * hello inside, that is the outer name.
 * @returns undefined without the extension
 * @throws ShapeError where lengths and contents do not agree
 */
export function readClientHello(body: Buffer): string | undefined {
  const hello = new ByteCursor(body);
  if (hello.number(1, 'the version') !== MAJOR_VERSION) throw new ShapeError('an unknown version');
  hello.number(1, 'the version');
  hello.take(RANDOM_BYTES, 'the random');
  hello.vector(1, { least: 0, most: 32 }, 'session id');
  const suites = hello.vector(2, { least: 2, most: U16_MAX - 1 }, 'list of cipher suites');
  if (suites.length % 2 !== 0) throw new ShapeError('half a cipher suite');
  hello.vector(1, { least: 1, most: 255 }, 'list of compression methods');
  // Before TLS 1.3 the whole part may be missing.
  if (hello.atEnd) return undefined;
  const extensions = hello.vector(2, { least: 0, most: U16_MAX }, 'list of extensions');
  hello.end('list of extensions');
  return readExtensions(extensions);
}

/** Bytes that come in pieces, in time that is linear in them: a hello may have thousands of records. */
class GrowingBytes {
  #buffer: Buffer = Buffer.alloc(512);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  append(part: Buffer): void {
    const length = this.#length + part.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(length, 2 * this.#buffer.length));
      this.bytes.copy(larger);
      this.#buffer = larger;
    }
    part.copy(this.#buffer, this.#length);
    this.#length = length;
  }
}

/**
 * Finds the ClientHello at the beginning of a connection, however its bytes are cut into segments and records. What comes
 * behind its last record is kept, and not looked at.
 */
export class ClientHelloReader {
  readonly #taken = new GrowingBytes();
  /** Where the next record begins. */
  #recordAt = 0;
  /** The message so far, in the records that are whole. */
  readonly #message = new GrowingBytes();
  #done: HelloReading | undefined;

  get isEmpty(): boolean {
    return this.#taken.length === 0;
  }

  /** The records that were read whole: those of the hello, once it is. */
  get bytes(): Buffer {
    return this.#taken.bytes.subarray(0, this.#recordAt);
  }

  /** What was taken behind them. */
  get rest(): Buffer {
    return this.#taken.bytes.subarray(this.#recordAt);
  }

  /** What is not `more` stays so. */
  take(chunk: Buffer): HelloReading {
    this.#taken.append(chunk);
    if (this.#done !== undefined) return this.#done;
    try {
      const reading = this.#read();
      if (reading.kind !== 'more') this.#done = reading;
      return reading;
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      this.#done = { kind: 'bad', reason: error.message };
      return this.#done;
    }
  }

  /** Record after record, until the message is whole. */
  #read(): HelloReading {
    const taken = this.#taken.bytes;
    for (;;) {
      const available = taken.length - this.#recordAt;
      if (available > 0) this.#checkRecordStart(taken);
      if (available < RECORD_HEADER_BYTES) return MORE;
      const length = taken.readUInt16BE(this.#recordAt + 3);
      if (length === 0 || length > MAX_RECORD_BYTES) throw new ShapeError(`a record of ${length} bytes`);
      const start = this.#recordAt + RECORD_HEADER_BYTES;
      const part = taken.subarray(start, Math.min(start + length, taken.length));
      this.#checkMessageStart(part);
      if (part.length < length) return MORE;
      this.#message.append(part);
      this.#recordAt = start + length;
      const body = this.#wholeBody();
      if (body !== undefined) return { kind: 'hello', serverName: readClientHello(body) };
    }
  }

  #checkRecordStart(taken: Buffer): void {
    const [type, major] = taken.subarray(this.#recordAt);
    if (type !== HANDSHAKE)
      throw new ShapeError(this.#recordAt === 0 ? 'no TLS' : `a record of type ${type} amid the hello`);
    if (major !== undefined && major !== MAJOR_VERSION) throw new ShapeError('no TLS');
  }

  /** Says what is wrong as soon as it is known, so that nobody can make us wait for it. */
  #checkMessageStart(part: Buffer): void {
    if (this.#message.length >= MESSAGE_HEADER_BYTES) return;
    const head = Buffer.concat([
      this.#message.bytes.subarray(0, MESSAGE_HEADER_BYTES),
      part.subarray(0, MESSAGE_HEADER_BYTES),
    ]);
    if (head.length > 0 && head[0] !== CLIENT_HELLO)
      throw new ShapeError(`a message of type ${head[0]} instead of a hello`);
    if (head.length < MESSAGE_HEADER_BYTES) return;
    const length = head.readUIntBE(1, 3);
    if (length > MAX_HELLO_BYTES) throw new ShapeError(`a hello of ${length} bytes`);
  }

  #wholeBody(): Buffer | undefined {
    const { length } = this.#message;
    if (length < MESSAGE_HEADER_BYTES) return undefined;
    const message = this.#message.bytes;
    const end = MESSAGE_HEADER_BYTES + message.readUIntBE(1, 3);
    if (length < end) return undefined;
    if (length > end) throw new ShapeError('bytes behind the hello in its record');
    return message.subarray(MESSAGE_HEADER_BYTES, end);
  }
}
