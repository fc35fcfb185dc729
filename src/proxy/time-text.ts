import type { Clock } from './types.ts';

/** RFC 3339 texts of the present; many records share a millisecond. */
export class TimeText {
  readonly #clock: Clock;
  #lastMs = -1;
  #lastText = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): string {
    const now = this.#clock.realtimeMs();
    if (now !== this.#lastMs) {
      this.#lastMs = now;
      this.#lastText = new Date(now).toISOString();
    }
    return this.#lastText;
  }
}
