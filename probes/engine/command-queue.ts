import { getSystemErrorName } from 'node:util';
import { SystemError } from '../../src/base/errors.ts';
import { Command } from './constants.ts';
import type { NativeEngine, NativeHandle } from './native.ts';

const ROOM = 1024;

/** Commands to the thread, handed over together at the end of what JavaScript does now, or when the room is full. */
export class CommandQueue {
  readonly #native: NativeEngine;
  readonly #handle: NativeHandle;
  readonly #words = new Uint32Array(ROOM * Command.words);
  #count = 0;
  #closed = false;

  constructor(native: NativeEngine, handle: NativeHandle) {
    this.#native = native;
    this.#handle = handle;
  }

  /** Room for one more `struct engine_command`, all 0; to be filled at once. @throws SystemError code ENGINE_COMMAND */
  next(): Uint32Array {
    if (this.#count === ROOM) this.#flush();
    if (this.#count === 0) queueMicrotask(() => this.#flush());
    const at = this.#count++ * Command.words;
    return this.#words.subarray(at, at + Command.words).fill(0);
  }

  /** Wakes the thread, though there may be nothing to hand over. @throws SystemError code ENGINE_COMMAND */
  wake(): void {
    this.#handOver();
  }

  /** What was not handed over is forgotten. */
  close(): void {
    this.#closed = true;
  }

  #flush(): void {
    if (this.#count > 0) this.#handOver();
  }

  #handOver(): void {
    const count = this.#count;
    this.#count = 0;
    if (this.#closed) return;
    const result = this.#native.command(this.#handle, this.#words, count);
    if (result < 0) {
      throw new SystemError(`the probe engine takes no command: ${getSystemErrorName(result)}`, {
        code: 'ENGINE_COMMAND',
      });
    }
  }
}
