import type { PathState } from '../../model/health.ts';
import type { Instant } from '../clock.ts';

/**
 * The state that a path is in, since when and why. Who wants to know when what is said of the path in brief may be another
 * is told once, and asks again.
 */
export class KeptState<Owner> {
  readonly #owner: Owner;
  #value: PathState = 'unknown';
  #since: Instant;
  #reason: string | undefined;
  #listener: ((owner: Owner) => void) | undefined;

  constructor(owner: Owner, at: Instant) {
    this.#owner = owner;
    this.#since = at;
  }

  get value(): PathState {
    return this.#value;
  }

  get since(): Instant {
    return this.#since;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  /** @returns the state before; undefined: it is the same, maybe for another reason */
  become(to: PathState, reason: string | undefined, at: Instant): PathState | undefined {
    const from = this.#value;
    this.blame(reason);
    if (from === to) return undefined;
    this.changed();
    this.#value = to;
    this.#since = at;
    return from;
  }

  /** The same state for another reason. */
  blame(reason: string | undefined): void {
    if (reason !== this.#reason) this.changed();
    this.#reason = reason;
  }

  /** Calls back once. */
  whenChanged(listener: (owner: Owner) => void): void {
    this.#listener = listener;
  }

  /** Something else that is said in brief has changed. */
  changed(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(this.#owner);
  }
}
