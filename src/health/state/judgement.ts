import type { PathReport } from '../../model/health.ts';

/** Loss within the last minute that makes a path degraded: so much that chance at 1 % does not do it in a life. */
const LOSS_LEAST = 5;
const LOSS_SHARE = 0.08;
/** Below it, it is over. */
const LOSS_OVER_SHARE = 0.04;
/**
 * It is over sooner when so many answers in a row are no chance at the loss before them: e^-11.5, once in 100,000 (at 30 %
 * these are 32), over so long a time.
 */
const LOSS_OVER_NATS = 11.5;
const LOSS_OVER_MS = 20_000;
const LOSS_SHARE_MOST = 0.9;
/** Slow: so many times the path's own usual median, and at least so much more. */
const SLOW_FACTOR = 4;
const SLOW_OVER_FACTOR = 2;
const SLOW_LEAST_NS = 2_000_000;
/** Of fewer answers it is not said that they are slow: one of them may have been sent twice by the kernel. */
const SLOW_ANSWERS = 3;
/** Weight of a new median in the usual one. */
const USUAL_WEIGHT = 0.05;

/** A window of which nothing was measured. */
export const EMPTY_WINDOW: PathReport['window'] = {
  spanMs: 0,
  sent: 0,
  answered: 0,
  late: 0,
  duplicate: 0,
  reordered: 0,
  rttNs: undefined,
  residenceNs: undefined,
};

/** Probes of a window, and those that were lost. */
export interface Losses {
  readonly sent: number;
  readonly lost: number;
}

export const NO_LOSSES: Losses = { sent: 0, lost: 0 };

export function lossShare({ sent, lost }: Losses): number {
  return sent === 0 ? 0 : lost / sent;
}

/** Whether so much is lost that the path is degraded. @param wasLossy whether it is for loss already */
export function isLossy(losses: Losses, wasLossy: boolean): boolean {
  const share = lossShare(losses);
  return wasLossy ? share >= LOSS_OVER_SHARE : losses.lost >= LOSS_LEAST && share >= LOSS_SHARE;
}

/** Whether so many answers in a row, since the last loss so long ago, say that the loss before them is over. */
export function isLossOver({ sent, lost }: Losses, inARow: number, sinceLossMs: number): boolean {
  if (lost < LOSS_LEAST || sinceLossMs < LOSS_OVER_MS || inARow >= sent) return false;
  const share = Math.min(LOSS_SHARE_MOST, lost / (sent - inARow));
  return -inARow * Math.log(1 - share) >= LOSS_OVER_NATS;
}

export interface Slowness {
  /** Median of the window, ns, of so many answers. */
  readonly p50: number;
  readonly answered: number;
  /** Undefined: not known yet. */
  readonly usualNs: number | undefined;
  /** Whether the path is degraded for slowness already. */
  readonly wasSlow: boolean;
}

export function isSlow({ p50, answered, usualNs, wasSlow }: Slowness): boolean {
  if (usualNs === undefined || answered < SLOW_ANSWERS) return false;
  return p50 > (wasSlow ? SLOW_OVER_FACTOR : SLOW_FACTOR) * usualNs && p50 - usualNs > SLOW_LEAST_NS;
}

/** The usual median, ns, after another one while all was well. */
export function usualAfter(usualNs: number | undefined, p50: number): number {
  return usualNs === undefined ? p50 : usualNs + USUAL_WEIGHT * (p50 - usualNs);
}
