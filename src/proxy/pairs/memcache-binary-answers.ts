import { DENIED_TEXT } from './memcache-request.ts';

export const HEADER_BYTES = 24;
export const REQUEST_MAGIC = 0x80;
const RESPONSE_MAGIC = 0x81;
const NOOP = 0x0a;
const STAT = 0x10;
/** Opcodes whose answer stays out when there is nothing to say. */
const QUIET = new Set([
  ...[0x09, 0x0d, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1e, 0x24],
  ...[0x32, 0x34, 0x36, 0x38, 0x3a, 0x3c],
]);
const STATUS_INVALID_ARGUMENTS = 0x0004;
const STATUS_AUTH_ERROR = 0x0008;

interface Sent {
  readonly opcode: number;
  /** The four bytes by which client and server know the request. */
  readonly opaque: number;
  /** A NOOP of the proxy's own, whose answer tells that no earlier request will be answered. */
  readonly probe: boolean;
}

function frame(magic: number, opcode: number, opaque: number, status = 0, text = ''): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + text.length);
  bytes[0] = magic;
  bytes[1] = opcode;
  bytes.writeUInt16BE(status, 6);
  bytes.writeUInt32BE(text.length, 8);
  bytes.writeUInt32BE(opaque, 12);
  bytes.write(text, HEADER_BYTES, 'latin1');
  return bytes;
}

export const denialOf = (opcode: number, opaque: number): Buffer =>
  frame(RESPONSE_MAGIC, opcode, opaque, STATUS_AUTH_ERROR, DENIED_TEXT);
export const invalidOf = (opcode: number, opaque: number): Buffer =>
  frame(RESPONSE_MAGIC, opcode, opaque, STATUS_INVALID_ARGUMENTS, 'Invalid arguments');

/**
 * Answers of memcached's binary protocol in the order of their requests. Quiet requests may have none: which of them have,
 * the next answer tells. Where the proxy has to answer behind quiet requests, it asks the server a NOOP first.
 */
export class BinaryAnswers {
  readonly #toClient: (bytes: Buffer) => void;
  readonly #toServer: (bytes: Buffer) => void;
  readonly #waiting: (Sent | { readonly own: Buffer })[] = [];
  #header = Buffer.alloc(0);
  #current: Sent | undefined;
  #last = true;
  #bodyBytes = 0;
  #probes = 0;

  constructor(toClient: (bytes: Buffer) => void, toServer: (bytes: Buffer) => void) {
    this.#toClient = toClient;
    this.#toServer = toServer;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  expect(opcode: number, opaque: number): void {
    this.#waiting.push({ opcode, opaque, probe: false });
  }

  answer(own: Buffer): void {
    const before = this.#waiting.findLast((one): one is Sent => !('own' in one));
    if (before !== undefined && QUIET.has(before.opcode)) {
      const opaque = this.#probes++ >>> 0;
      this.#waiting.push({ opcode: NOOP, opaque, probe: true });
      this.#toServer(frame(REQUEST_MAGIC, NOOP, opaque));
    }
    this.#waiting.push({ own });
    this.#flush();
  }

  #flush(): void {
    for (let first = this.#waiting[0]; first !== undefined && 'own' in first; first = this.#waiting[0]) {
      this.#toClient(first.own);
      this.#waiting.shift();
    }
  }

  /** Passes bytes of the server on. @returns why they cannot be answers; undefined: they are */
  onServer(chunk: Buffer): string | undefined {
    for (let at = 0; at < chunk.length; ) {
      if (this.#current !== undefined) {
        const taken = Math.min(this.#bodyBytes, chunk.length - at);
        this.#bodyBytes -= taken;
        if (!this.#current.probe && taken > 0) this.#toClient(chunk.subarray(at, at + taken));
        at += taken;
        if (this.#bodyBytes === 0) this.#endFrame();
        continue;
      }
      const wanted = HEADER_BYTES - this.#header.length;
      this.#header = Buffer.concat([this.#header, chunk.subarray(at, at + wanted)]);
      at = Math.min(at + wanted, chunk.length);
      if (this.#header.length < HEADER_BYTES) break;
      const problem = this.#beginFrame(this.#header);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #beginFrame(header: Buffer): string | undefined {
    this.#header = Buffer.alloc(0);
    if (header[0] !== RESPONSE_MAGIC) return 'an answer of the server that cannot be read';
    const sent = this.#find(header[1] as number, header.readUInt32BE(12));
    if (sent === undefined) return 'an answer of the server without a request';
    this.#current = sent;
    this.#bodyBytes = header.readUInt32BE(8);
    const more = sent.opcode === STAT && header.readUInt16BE(6) === 0 && header.readUInt16BE(2) > 0;
    this.#last = !more;
    if (!sent.probe) this.#toClient(header);
    if (this.#bodyBytes === 0) this.#endFrame();
    return undefined;
  }

  /** The request that is answered; quiet ones before it stay without answer. */
  #find(opcode: number, opaque: number): Sent | undefined {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if ('own' in first) return undefined;
      if (first.opcode === opcode && first.opaque === opaque) return first;
      if (!QUIET.has(first.opcode)) return undefined;
      this.#waiting.shift();
      this.#flush();
    }
    return undefined;
  }

  #endFrame(): void {
    this.#current = undefined;
    if (!this.#last) return;
    this.#waiting.shift();
    this.#flush();
  }
}
