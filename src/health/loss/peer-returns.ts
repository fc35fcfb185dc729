/** Silence of a peer, and since when it was known to live again; all monotonic ns. */
interface Silence {
  readonly silentNs: number;
  backNs: number | undefined;
}

/** A peer that asks us at all asks once a second: one of which nothing came for so long is cut off, or dead. */
const SILENT_NS = 1500e6;
/** What was noted of peers so long ago is forgotten. */
const FORGET_NS = 600e9;

/**
 * Which peers were cut off, and when they came back: probes that left us before that were lost with all else, and say nothing of a
 * way that loses them while the peer lives.
 */
export class PeerReturns {
  /** By address, those that fell silent the longest ago first. */
  readonly #silences = new Map<string, Silence>();

  /** Nothing was heard of a peer when it was asked. @param heardNs when anything came of it last */
  silent(address: string, heardNs: number, nowNs: number): void {
    if (nowNs - heardNs < SILENT_NS) return;
    for (const [known, { silentNs }] of this.#silences) {
      if (nowNs - silentNs < FORGET_NS) break;
      this.#silences.delete(known);
    }
    this.#silences.delete(address);
    this.#silences.set(address, { silentNs: nowNs, backNs: undefined });
  }

  /**
   * A peer lives.
   * @param answeredNs when a probe of the path in question was answered last
   * @returns since when it is known to, if it was cut off after that answer, else 0
   */
  livesSinceNs(address: string, answeredNs: number, nowNs: number): number {
    const silence = this.#silences.get(address);
    if (silence === undefined || silence.silentNs < answeredNs) return 0;
    silence.backNs ??= nowNs;
    return silence.backNs;
  }
}
