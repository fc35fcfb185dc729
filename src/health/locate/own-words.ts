import type { HealthRow, RowNote } from '../../model/health.ts';

/** What a node says of itself is news to others at about the time at which they find out that it does not answer. */
const BEFORE_MS = 2000;
/** A node that looked hung so long ago, and did not since, looks so anew. */
const FORGET_MS = 5000;

/**
 * What nodes say of themselves, which explains why they look as if they hung. One that hangs does not take back what it said
 * before: only what was said since it looks so counts, or just before that.
 */
export class OwnWords {
  /** By node: since when, and when last, it looked as if it hung, monotonic ms. */
  readonly #hung = new Map<string, { readonly sinceMs: number; lastMs: number }>();

  /** Notes on itself of a node that looks now as if it hung. @param nowMs monotonic */
  of({ node, notes, notesAgeMs = 0 }: HealthRow, nowMs: number): readonly RowNote[] {
    for (const [name, { lastMs }] of this.#hung) if (nowMs - lastMs > FORGET_MS) this.#hung.delete(name);
    const hung = this.#hung.get(node) ?? { sinceMs: nowMs, lastMs: nowMs };
    hung.lastMs = nowMs;
    this.#hung.set(node, hung);
    const isTold = nowMs - notesAgeMs >= hung.sinceMs - BEFORE_MS;
    return isTold ? notes.filter(({ peer }) => peer === node) : [];
  }
}
