import type { FaultKind } from '../../model/health.ts';
import type { Instant } from '../clock.ts';
import type { Claim } from './claims.ts';
import { claimKey, isDead, placeKey, wide } from './merge.ts';
import { SYMPTOMS } from './symptoms.ts';

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

/** Whether a claim is a consequence of another one. */
type Follows = (claim: Claim, from: Claim) => boolean;

/** A claim that rests on counts, on one pair, or on silence without a reason, is told after so long: others may confirm it, or say what it really is. */
const CONFIRM_MS = 1500;
/** One that says of itself that it has no route to a peer may have none to others: it has tried to reach them by then. */
const NO_ROUTE_MS = 800;
/** Echoes of programs are asked for at a tenth of the pace: others have seen by then whether it is one pair only. */
const ECHO_MS = 12_000;
/** Of what is seen path by path, pairs with a node in common may be that node's: all of its paths are seen by then. */
const SPREAD_MS = 8000;
/** A verdict of counts stays so long after it was found last. */
const HOLD_MS = 5000;
/** What is left of a node's or a zone's fault, as pairs, is of that fault while it heals: for so long at most. */
const REST_MS = 12_000;

/** Faults that each path shows in its own time. */
const SPREADING: ReadonlySet<FaultKind> = new Set([
  'loss',
  'slow',
  'mtu-black-hole',
  'icmp-filtered',
  'http-filtered',
  'echo-filtered',
]);

/** What a node's fault is called between two nodes. */
const BETWEEN: ReadonlyMap<FaultKind, FaultKind> = new Map(
  SYMPTOMS.map(({ fault, between }) => [fault, between]),
);

/**
 * Verdicts over time: they do not come and go with chance, nor does one that begins or heals path by path fall into many.
 */
export class Standing {
  readonly #stood = new Map<string, Stood>();

  /** Whether it is certain enough: what stands already needs less. */
  admits(claim: Claim): boolean {
    return claim.certain || this.#stood.has(claimKey(claim));
  }

  /** Whether anything must stand longer before it is told. */
  get isPending(): boolean {
    for (const { told } of this.#stood.values()) if (!told) return true;
    return false;
  }

  /**
   * @param claims those admitted, merged
   * @param follows whether a claim is a consequence of another one
   * @returns what is told now
   */
  take(claims: readonly Claim[], { nowMs, wallMs }: Instant, follows: Follows): Told[] {
    const healing = this.#healing(claims, nowMs, follows);
    for (const claim of claims) {
      if (healing.some((entry) => isRestOf(claim, entry.claim, follows))) continue;
      const key = claimKey(claim);
      const entry = this.#stood.get(key) ?? this.#begin(claim, nowMs, wallMs);
      entry.claim = claim;
      entry.lastMs = nowMs;
      entry.told ||= nowMs - entry.firstMs >= confirmMs(claim, claims);
      this.#stood.set(key, entry);
    }
    for (const [key, entry] of this.#stood) {
      const { claim, lastMs, told } = entry;
      if (lastMs === nowMs) continue;
      const isOver = !healing.includes(entry) && nowMs - lastMs > (told ? holdMs(claim) : 0);
      if (isOver || claims.some((other) => follows(claim, other))) this.#stood.delete(key);
    }
    return [...this.#stood.values()].filter(({ told }) => told);
  }

  /** Verdicts that are not found any more, but narrower ones of the same fault within their places. */
  #healing(claims: readonly Claim[], nowMs: number, follows: Follows): Stood[] {
    const found = new Set(claims.map(claimKey));
    return [...this.#stood].flatMap(([key, entry]) => {
      const isLate = found.has(key) || !entry.told || nowMs - entry.lastMs > REST_MS;
      return !isLate && claims.some((claim) => isRestOf(claim, entry.claim, follows)) ? [entry] : [];
    });
  }

  /**
   * What turns out to be another fault of the same place than was thought has stood as long. But silence begins anew: whatever
   * was between two nodes before, it may be one of them that is dead now.
   */
  #begin(claim: Claim, nowMs: number, wallMs: number): Stood {
    const place = placeKey(claim.place);
    const before = [...this.#stood.values()].filter((stood) => {
      return placeKey(stood.claim.place) === place && (!isDead(claim.fault) || isDead(stood.claim.fault));
    });
    return {
      claim,
      firstMs: Math.min(nowMs, ...before.map(({ firstMs }) => firstMs)),
      sinceMs: Math.min(claim.sinceMs ?? wallMs, ...before.map(({ sinceMs }) => sinceMs)),
      lastMs: nowMs,
      told: false,
    };
  }
}

function isRestOf(claim: Claim, from: Claim, follows: Follows): boolean {
  const isSame = claim.fault === from.fault || claim.fault === BETWEEN.get(from.fault);
  return isSame && wide(claim.place) < wide(from.place) && follows(claim, from);
}

function confirmMs(claim: Claim, claims: readonly Claim[]): number {
  const { fault, place } = claim;
  if (SPREADING.has(fault) && claims.some((other) => isBeside(claim, other))) return SPREAD_MS;
  if (fault === 'echo-filtered' && place.kind === 'pair') return ECHO_MS;
  if (fault === 'route-missing' && place.kind === 'pair' && claim.lossPoint !== undefined) return NO_ROUTE_MS;
  const isVague = fault === 'loss' || fault === 'slow' || fault === 'drop';
  return isVague || place.kind === 'pair' || place.kind === 'observer' ? CONFIRM_MS : 0;
}

/** Whether two pairs with the same fault have a node in common. */
function isBeside(claim: Claim, other: Claim): boolean {
  const [a, b] = [claim.place, other.place];
  if (claim === other || claim.fault !== other.fault || a.kind !== 'pair' || b.kind !== 'pair') return false;
  return [a.from, a.to].some((node) => node === b.from || node === b.to);
}

/** States have their own hysteresis: when they are well, they are. */
function holdMs({ fault }: Claim): number {
  return fault === 'loss' || fault === 'slow' ? HOLD_MS : 0;
}
