/** Messages of DNS over TCP: each after its length in two bytes, RFC 1035 §4.2.2. */
export class FrameReader {
  #buffered: Buffer = Buffer.alloc(0);

  /** Bytes of a message that is not whole yet. */
  get pending(): number {
    return this.#buffered.length;
  }

  /** Takes bytes as they come. @returns the messages that are whole now; views that stay valid */
  push(chunk: Buffer): Buffer[] {
    this.#buffered = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
    const messages: Buffer[] = [];
    let at = 0;
    while (at + 2 <= this.#buffered.length) {
      const end = at + 2 + this.#buffered.readUInt16BE(at);
      if (end > this.#buffered.length) break;
      messages.push(this.#buffered.subarray(at + 2, end));
      at = end;
    }
    this.#buffered = this.#buffered.subarray(at);
    return messages;
  }
}

/** A message with its length before it. @param message at most 65535 bytes */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 2);
  framed.writeUInt16BE(message.length, 0);
  framed.set(message, 2);
  return framed;
}
