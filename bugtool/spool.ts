import { createHash } from 'node:crypto';
import { Redactor } from './redact.ts';
import type { ArchivedFile, Sink } from './types.ts';

/** Most bytes of one entry: an entry's size stands before its content, so a part is held in memory. */
export const PART_BYTES = 4 << 20;

export interface SpoolOptions {
  readonly path: string;
  readonly capBytes: number;
  readonly redact: boolean;
  /** Adds an entry to the archive; resolves when there is room for more. */
  readonly add: (path: string, content: Buffer) => Promise<void>;
}

/** Redacts, caps and cuts one collector's output into parts, each an entry of the archive. */
export class Spool implements Sink {
  readonly #options: SpoolOptions;
  readonly #redactor = new Redactor();
  readonly #decoder = new TextDecoder();
  readonly files: ArchivedFile[] = [];
  #held: Buffer[] = [];
  #heldBytes = 0;
  #bytes = 0;
  #full = false;

  constructor(options: SpoolOptions) {
    this.#options = options;
  }

  /** After redaction. */
  get bytes(): number {
    return this.#bytes;
  }

  get redactions(): number {
    return this.#redactor.count;
  }

  get truncated(): boolean {
    return this.#full;
  }

  async write(chunk: Uint8Array): Promise<boolean> {
    if (this.#full) return false;
    const bytes = this.#options.redact
      ? Buffer.from(this.#redactor.push(this.#decoder.decode(chunk, { stream: true })))
      : Buffer.from(chunk);
    await this.#keep(bytes);
    return !this.#full;
  }

  /** Writes what is held. An output without bytes still is a file: empty is an answer. */
  async end(): Promise<void> {
    if (this.#options.redact && !this.#full) {
      const rest = this.#redactor.push(this.#decoder.decode()) + this.#redactor.end();
      await this.#keep(Buffer.from(rest));
    }
    if (this.#heldBytes > 0 || this.files.length === 0) await this.#flush();
  }

  async #keep(bytes: Buffer): Promise<void> {
    const room = this.#options.capBytes - this.#bytes;
    if (bytes.length > room) this.#full = true;
    let rest = bytes.subarray(0, Math.max(0, room));
    this.#bytes += rest.length;
    while (rest.length > 0) {
      const part = rest.subarray(0, PART_BYTES - this.#heldBytes);
      this.#held.push(part);
      this.#heldBytes += part.length;
      rest = rest.subarray(part.length);
      if (this.#heldBytes === PART_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const content = Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    const number = this.files.length + 1;
    const suffix = number === 1 ? '' : `.part${String(number).padStart(3, '0')}`;
    const path = `${this.#options.path}${suffix}`;
    const sha256 = createHash('sha256').update(content).digest('hex');
    this.files.push({ path, bytes: content.length, sha256 });
    await this.#options.add(path, content);
  }
}
