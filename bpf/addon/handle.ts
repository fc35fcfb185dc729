import { BpfError, checked } from './errors.ts';
import type { Handle, Native } from './native.ts';

/** Base of maps, programs and links: one descriptor, closed once. */
export class Owned {
  protected readonly native: Native;
  readonly #handle: Handle;
  readonly #what: string;
  #closed = false;

  constructor(native: Native, handle: Handle, what: string) {
    this.native = native;
    this.#handle = handle;
    this.#what = what;
  }

  /** @throws BpfError BPF_CLOSED */
  get handle(): Handle {
    if (this.#closed)
      throw new BpfError(`the ${this.#what} was used after close()`, {
        code: 'BPF_CLOSED',
        operation: this.#what,
      });
    return this.#handle;
  }

  /** Pins it on a bpffs; it then lives on without this process. */
  pin(path: string): void {
    checked(`pin a ${this.#what} at ${path}`, this.native.handlePin(this.handle, path));
  }

  /** Releases the descriptor. May be called twice. */
  close(): void {
    this.#closed = true;
    this.native.handleClose(this.#handle);
  }
}

/** The addon's handle of a facade object that came through an interface. @throws BpfError BPF_ARGUMENT */
export function handleOf(value: object, what: string): Handle {
  if (value instanceof Owned) return value.handle;
  throw new BpfError(`expected a ${what} of this addon`, { code: 'BPF_ARGUMENT', operation: what });
}
