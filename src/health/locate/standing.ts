import type { Instant } from '../state/path-tracker.ts';
import type { Claim } from './claims.ts';
import { claimKey, placeKey } from './merge.ts';

interface Stood {
  claim: Claim;
  readonly firstMs: number;
  readonly sinceMs: number;
  lastMs: number;
  told: boolean;
}

export interface Told {
  readonly claim: Claim;
  readonly sinceMs: number;
}

/** A claim that rests on counts, or on one pair, is told after so long: others may confirm it, or say what it really is. */
const CONFIRM_MS = 1500;
/** A verdict of counts stays so long after it was found last. */
const HOLD_MS = 5000;

/** Verdicts over time: they do not come and go with chance. */
export class Standing {
  readonly #stood = new Map<string, Stood>();

  /** Whether it is certain enough: what stands already needs less. */
  admits(claim: Claim): boolean {
    return claim.certain || this.#stood.has(claimKey(claim));
  }

  /**
   * @param claims those admitted, merged
   * @param follows whether a claim is a consequence of another one
   * @returns what is told now
   */
  take(
    claims: readonly Claim[],
    { nowMs, wallMs }: Instant,
    follows: (claim: Claim, from: Claim) => boolean,
  ): Told[] {
    for (const claim of claims) {
      const key = claimKey(claim);
      const entry = this.#stood.get(key) ?? this.#begin(claim, nowMs, wallMs);
      entry.claim = claim;
      entry.lastMs = nowMs;
      entry.told ||= nowMs - entry.firstMs >= confirmMs(claim);
      this.#stood.set(key, entry);
    }
    for (const [key, { claim, lastMs, told }] of this.#stood) {
      if (lastMs === nowMs) continue;
      const isOver = nowMs - lastMs > (told ? holdMs(claim) : 0);
      if (isOver || claims.some((other) => follows(claim, other))) this.#stood.delete(key);
    }
    return [...this.#stood.values()].filter(({ told }) => told);
  }

  /** What turns out to be another fault of the same place than was thought has stood as long. */
  #begin(claim: Claim, nowMs: number, wallMs: number): Stood {
    const place = placeKey(claim.place);
    const before = [...this.#stood.values()].filter((stood) => placeKey(stood.claim.place) === place);
    return {
      claim,
      firstMs: Math.min(nowMs, ...before.map(({ firstMs }) => firstMs)),
      sinceMs: Math.min(claim.sinceMs ?? wallMs, ...before.map(({ sinceMs }) => sinceMs)),
      lastMs: nowMs,
      told: false,
    };
  }
}

function confirmMs({ fault, place }: Claim): number {
  return fault === 'loss' || fault === 'slow' || place.kind === 'pair' || place.kind === 'observer'
    ? CONFIRM_MS
    : 0;
}

/** States have their own hysteresis: when they are well, they are. */
function holdMs({ fault }: Claim): number {
  return fault === 'loss' || fault === 'slow' ? HOLD_MS : 0;
}
