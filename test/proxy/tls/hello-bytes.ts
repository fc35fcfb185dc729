/** Bytes of a ClientHello as a client would send it, or as one would that means harm (RFC 8446 §4.1.2, RFC 6066 §3). */

const number = (bytes: number, value: number): Buffer => {
  const out = Buffer.alloc(bytes);
  out.writeUIntBE(value, 0, bytes);
  return out;
};

/** Bytes behind their length, which may be another one. */
export function vector(lengthBytes: number, bytes: Buffer, length = bytes.length): Buffer {
  return Buffer.concat([number(lengthBytes, length), bytes]);
}

/** One entry of a list of server names. */
export const nameEntry = (name: string, type = 0): Buffer =>
  Buffer.concat([number(1, type), vector(2, Buffer.from(name, 'latin1'))]);

export const extension = (type: number, bytes: Buffer): Buffer =>
  Buffer.concat([number(2, type), vector(2, bytes)]);

export const serverNames = (...entries: readonly Buffer[]): Buffer =>
  extension(0, vector(2, Buffer.concat(entries)));

export interface HelloParts {
  readonly version?: number;
  readonly sessionId?: Buffer;
  readonly suites?: Buffer;
  readonly compression?: Buffer;
  /** Undefined: the whole part is missing. */
  readonly extensions?: readonly Buffer[] | undefined;
  /** Behind everything. */
  readonly rest?: Buffer;
}

/** The message with its header. */
export function helloMessage(parts: HelloParts = {}, length?: number): Buffer {
  const { version = 0x0303, sessionId = Buffer.alloc(32, 7), rest = Buffer.alloc(0) } = parts;
  const { suites = Buffer.from([0x13, 1, 0x13, 2]), compression = Buffer.from([0]) } = parts;
  const extensions = 'extensions' in parts ? parts.extensions : [serverNames(nameEntry('a.example.org'))];
  const body = Buffer.concat([
    ...[number(2, version), Buffer.alloc(32, 9), vector(1, sessionId), vector(2, suites)],
    vector(1, compression),
    ...(extensions === undefined ? [] : [vector(2, Buffer.concat(extensions))]),
    rest,
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body, length)]);
}

/** A record of a handshake, unless another type is named. */
export const record = (bytes: Buffer, type = 22, version = 0x0301): Buffer =>
  Buffer.concat([number(1, type), number(2, version), vector(2, bytes)]);

/** A whole hello in one record. */
export const hello = (parts: HelloParts = {}): Buffer => record(helloMessage(parts));

/** One that asks for a server. */
export const helloFor = (name: string): Buffer => hello({ extensions: [serverNames(nameEntry(name))] });

/** The same message in records of so many bytes. */
export function inRecords(message: Buffer, size: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) records.push(record(message.subarray(at, at + size)));
  return Buffer.concat(records);
}
