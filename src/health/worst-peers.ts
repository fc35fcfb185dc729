/** How a peer fares, as far as the choice of the worst needs it. */
export interface PeerScore {
  readonly peer: string;
  /** 0: as it should be; 100: nothing answers. */
  readonly score: number;
  /** 2: a path is unreachable; 1: degraded; 0: neither. */
  readonly grade: 0 | 1 | 2;
  /** Of the last minute's probes, 0..1. */
  readonly lossRatio: number;
}

export interface WorstOptions {
  readonly places: number;
  /** A place is kept so long after its peer was last among the worst. */
  readonly holdMs: number;
  /** Below it a peer is not among the worst. */
  readonly leastScore: number;
}

const DEFAULTS: WorstOptions = { places: 6, holdMs: 300_000, leastScore: 3 };

interface Place {
  now: PeerScore;
  /** When it last scored enough. */
  badMs: number;
}

/**
 * The worst peers by name, in few places, so that a cluster of any size has as many series. Who has a place keeps it until
 * it was well for `holdMs`: names do not come and go with every scrape. Only a peer that fares worse by a whole grade takes
 * the place of one that is held, at once.
 */
export class WorstPeers {
  readonly #options: WorstOptions;
  readonly #places = new Map<string, Place>();

  constructor(options: Partial<WorstOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  /** @returns those with a place, by name, as they fare now */
  take(scores: readonly PeerScore[], nowMs: number): readonly PeerScore[] {
    const { leastScore } = this.#options;
    this.#refresh(scores, nowMs);
    const worstFirst = scores
      .filter(({ peer, score }) => score >= leastScore && !this.#places.has(peer))
      .sort((a, b) => b.grade - a.grade || b.score - a.score || (a.peer < b.peer ? -1 : 1));
    for (const one of worstFirst) if (!this.#place(one, nowMs)) break;
    return [...this.#places.values()].map(({ now }) => now).sort((a, b) => (a.peer < b.peer ? -1 : 1));
  }

  #refresh(scores: readonly PeerScore[], nowMs: number): void {
    const { leastScore, holdMs } = this.#options;
    const byPeer = new Map(scores.map((score) => [score.peer, score]));
    for (const [peer, place] of this.#places) {
      const now = byPeer.get(peer);
      if (now !== undefined) place.now = now;
      if (now !== undefined && now.score >= leastScore) place.badMs = nowMs;
      // Who left the node list has no series.
      if (now === undefined || nowMs - place.badMs >= holdMs) this.#places.delete(peer);
    }
  }

  /** @returns whether there was a place for it */
  #place(one: PeerScore, nowMs: number): boolean {
    if (this.#places.size >= this.#options.places) {
      const least = [...this.#places.values()].reduce((a, b) => (isLess(b.now, a.now) ? b : a)).now;
      if (least.grade >= one.grade) return false;
      this.#places.delete(least.peer);
    }
    this.#places.set(one.peer, { now: one, badMs: nowMs });
    return true;
  }
}

function isLess(a: PeerScore, b: PeerScore): boolean {
  return a.grade === b.grade ? a.score < b.score : a.grade < b.grade;
}
