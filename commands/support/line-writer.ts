import { once } from 'node:events';
import type { Writable } from 'node:stream';

const CHUNK_CHARS = 64 * 1024;

/** Writes many lines in few calls, and waits when the reader is slower: memory stays one chunk however long the text. */
export class LineWriter {
  readonly #target: Writable;
  #lines = '';

  constructor(target: Writable = process.stdout) {
    this.#target = target;
  }

  /** @param line with its newline. @returns a promise when a chunk went out and the reader must catch up */
  add(line: string): Promise<void> | undefined {
    this.#lines += line;
    return this.#lines.length < CHUNK_CHARS ? undefined : this.flush();
  }

  async flush(): Promise<void> {
    const lines = this.#lines;
    this.#lines = '';
    if (lines !== '' && !this.#target.write(lines)) await once(this.#target, 'drain');
  }
}
