import type { HealthDiagnosis, MatrixView } from '../model/health.ts';
import type { Instant } from './clock.ts';
import { Diagnoser, type OwnPaths } from './locate/index.ts';

/** How long one holds, if nothing changes: rows grow old, and counts add up. */
const HOLDS_MS = 1000;
/** While something waits to be told: not so short that the work takes more than a fiftieth of the time. */
const HOLDS_PENDING_MS = 250;
const COST_FACTOR = 50;

/** The diagnosis of now: made when it is asked for, and kept for a second or until a fault comes or goes. */
export class KeptDiagnosis {
  readonly #matrix: () => MatrixView;
  readonly #own: OwnPaths;
  readonly #diagnoser = new Diagnoser();
  /** What the last one took. */
  #costMs = 0;
  #kept: { readonly diagnosis: HealthDiagnosis; readonly nowMs: number } | undefined;

  /** @param own the paths of this node to a peer */
  constructor(matrix: () => MatrixView, own: OwnPaths) {
    this.#matrix = matrix;
    this.#own = own;
  }

  /** A fault came or went, here or in the row of another node: the next one is made anew. */
  changed(): void {
    this.#kept = undefined;
  }

  at(now: Instant): HealthDiagnosis {
    const pendingMs = Math.min(HOLDS_MS, Math.max(HOLDS_PENDING_MS, COST_FACTOR * this.#costMs));
    const holdsMs = this.#diagnoser.isPending ? pendingMs : HOLDS_MS;
    if (this.#kept === undefined || now.nowMs - this.#kept.nowMs >= holdsMs) {
      const begunMs = performance.now();
      const diagnosis = this.#diagnoser.diagnose(this.#matrix(), this.#own, now);
      this.#costMs = performance.now() - begunMs;
      this.#kept = { diagnosis, nowMs: now.nowMs };
    }
    return this.#kept.diagnosis;
  }
}
