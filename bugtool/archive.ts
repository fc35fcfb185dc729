import { once } from 'node:events';
import { Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { TarArchive } from 'archiver';

/** Bytes that may wait between the tar writer and the compressor. */
const WAITING_BYTES = 4 << 20;
const BLOCK = 512;

/** Counts what has gone through, and tells those who wait for it. */
class Meter extends Transform {
  passed = 0;
  #waiting: { readonly until: number; readonly done: () => void }[] = [];

  override _transform(
    chunk: Buffer,
    _encoding: BufferEncoding,
    callback: (error: null, chunk: Buffer) => void,
  ): void {
    this.passed += chunk.length;
    this.#waiting = this.#waiting.filter(({ until, done }) => {
      if (this.passed < until) return true;
      done();
      return false;
    });
    callback(null, chunk);
  }

  /** Resolves once `bytes` in all have gone through. */
  reached(bytes: number): Promise<void> {
    if (this.passed >= bytes) return Promise.resolve();
    return new Promise((done) => this.#waiting.push({ until: bytes, done }));
  }
}

/**
 * A tar.gz that is written while it is made. Entries have their size before their content, nothing is staged, and
 * an entry is taken only when most of those before it are on their way out.
 */
export class ArchiveWriter {
  readonly #tar = new TarArchive();
  readonly #meter = new Meter();
  readonly #root: string;
  readonly #done: Promise<void>;
  #queue: Promise<void> = Promise.resolve();
  #appended = 0;

  /** @param root folder that every entry lies in; @param target is ended with the archive */
  constructor(root: string, target: Writable) {
    this.#root = root;
    // The tar writer stands outside of the pipeline, which would destroy it when the target fails: it throws in a
    // later turn, where nobody can catch it, when an entry reaches it then.
    this.#tar.pipe(this.#meter);
    this.#tar.on('error', (error) => this.#meter.destroy(error));
    this.#done = pipeline(this.#meter, createGzip({ level: 6 }), target);
    // Whoever adds or finishes learns of the failure; until then it is nobody's unhandled rejection.
    this.#done.catch(() => undefined);
  }

  /** Adds one file. Calls may overlap; entries follow each other in the order of the calls. */
  add(path: string, content: Buffer): Promise<void> {
    const added = this.#queue.then(() => this.#append(path, content));
    this.#queue = added.catch(() => undefined);
    return added;
  }

  async #append(path: string, content: Buffer): Promise<void> {
    const entry = once(this.#tar, 'entry');
    this.#tar.append(content, { name: `${this.#root}/${path}`, mode: 0o600 });
    this.#appended += BLOCK + Math.ceil(content.length / BLOCK) * BLOCK;
    // The tar writer buffers without bound by itself; the pipeline's end rejects when the target fails.
    const room = entry.then(() => this.#meter.reached(this.#appended - WAITING_BYTES));
    await Promise.race([room, this.#done.then(() => room)]);
  }

  /** Ends the archive. @throws what the target failed with */
  async finish(): Promise<void> {
    await this.#queue;
    void this.#tar.finalize();
    await this.#done;
  }
}
