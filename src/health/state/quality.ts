import type { PathCounts } from '../../../probes/engine/index.ts';
import { isLossOver, isLossy, isSlow, lossShare, usualAfter } from './judgement.ts';
import type { Outcomes } from './outcomes.ts';
import type { WindowRing } from './path-window.ts';

/** The largest IP packet that passes, and whether larger ones vanish without a word. */
export interface PathSize {
  readonly bytes: number;
  readonly blackHole: boolean;
}

/** From one learning of the usual median to the next. */
const USUAL_MS = 10_000;

/** How a path that answers does: whether its last minute makes it degraded, by bounds that it does not flap between. */
export class Quality {
  readonly #ring: WindowRing;
  #degradedBy: 'loss' | 'latency' | 'size' | undefined;
  /** NaN: not known yet. */
  #usualNs = Number.NaN;
  #usualAtMs: number;
  /** What is known of the packets that it carries. */
  size: PathSize | undefined;

  constructor(ring: WindowRing, nowMs: number) {
    this.#ring = ring;
    this.#usualAtMs = nowMs;
  }

  /** Median round trip while all was well, ns; undefined: not known yet. */
  get usualNs(): number | undefined {
    return Number.isNaN(this.#usualNs) ? undefined : this.#usualNs;
  }

  get isLossy(): boolean {
    return this.#degradedBy === 'loss';
  }

  get isSlow(): boolean {
    return this.#degradedBy === 'latency';
  }

  /** It is not degraded any more, but up or down. */
  clear(): void {
    this.#degradedBy = undefined;
  }

  /** @returns why it is degraded, for people; undefined: it is not */
  judge(counts: PathCounts, outcomes: Outcomes, nowMs: number): string | undefined {
    const ring = this.#ring;
    if (isLossOver(ring.losses(counts), outcomes.answeredSinceMiss, outcomes.sinceMissMs(nowMs)))
      ring.restart(counts, nowMs);
    const losses = ring.losses(counts);
    const p50 = ring.medianNs(counts);
    const { usualNs } = this;
    const isLost = isLossy(losses, this.#degradedBy === 'loss');
    const isLate =
      p50 !== undefined &&
      isSlow({ p50, answered: ring.answered(counts), usualNs, wasSlow: this.#degradedBy === 'latency' });
    if (!isLost && !isLate && p50 !== undefined) this.#learn(p50, nowMs);
    const { size } = this;
    const isHole = size?.blackHole === true;
    this.#degradedBy = isLost ? 'loss' : isHole ? 'size' : isLate ? 'latency' : undefined;
    if (isLost) return `${Math.round(lossShare(losses) * 100)} % of probes lost`;
    if (isHole) return `packets of more than ${size.bytes} bytes vanish`;
    return isLate ? `median ${ms(p50)} ms, usual ${ms(usualNs ?? 0)} ms` : undefined;
  }

  #learn(p50: number, nowMs: number): void {
    const { usualNs } = this;
    if (usualNs !== undefined && nowMs - this.#usualAtMs < USUAL_MS) return;
    this.#usualAtMs = nowMs;
    this.#usualNs = usualAfter(usualNs, p50);
  }
}

function ms(ns: number): string {
  return (ns / 1e6).toFixed(2);
}
