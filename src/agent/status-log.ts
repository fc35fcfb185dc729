import type { EndpointState } from './endpoint-state.ts';

/** One line of an endpoint's log. */
export interface StatusLogEntry {
  readonly time: Date;
  readonly code: 'OK' | 'Failed';
  readonly message: string;
  readonly state: EndpointState;
}

const ENTRIES_KEPT = 256;

/** The last 256 things that happened to an endpoint; the oldest go first. */
export class StatusLog {
  #entries: StatusLogEntry[] = [];

  add(entry: StatusLogEntry): void {
    this.#entries.push(entry);
    if (this.#entries.length > ENTRIES_KEPT) this.#entries.shift();
  }

  /** Newest first. */
  newestFirst(): readonly StatusLogEntry[] {
    return [...this.#entries].reverse();
  }

  last(): StatusLogEntry | undefined {
    return this.#entries.at(-1);
  }
}
