export interface LatencySummary {
  readonly minNs: number;
  readonly avgNs: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly maxNs: number;
}

const KEPT = 4096;

/** Latencies in bounded memory: exact count, minimum, mean and maximum; percentiles exact up to 4096 samples, then of a uniform sample. */
export class LatencySamples {
  #kept = new Float64Array(8);
  #count = 0;
  #sum = 0;
  #min = Infinity;
  #max = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  add(latencyNs: number): void {
    this.#sum += latencyNs;
    this.#min = Math.min(this.#min, latencyNs);
    this.#max = Math.max(this.#max, latencyNs);
    const slot = this.#count < KEPT ? this.#count : Math.floor(this.#random() * (this.#count + 1));
    this.#count++;
    if (slot >= KEPT) return;
    if (slot >= this.#kept.length) {
      const grown = new Float64Array(Math.min(KEPT, this.#kept.length * 2));
      grown.set(this.#kept);
      this.#kept = grown;
    }
    this.#kept[slot] = latencyNs;
  }

  summary(): LatencySummary | undefined {
    if (this.#count === 0) return undefined;
    const sorted = this.#kept.slice(0, Math.min(this.#count, KEPT)).sort();
    const at = (fraction: number): number =>
      sorted[Math.min(sorted.length - 1, Math.ceil(fraction * sorted.length) - 1)] ?? 0;
    return {
      minNs: this.#min,
      avgNs: Math.round(this.#sum / this.#count),
      p50Ns: at(0.5),
      p99Ns: at(0.99),
      maxNs: this.#max,
    };
  }
}
