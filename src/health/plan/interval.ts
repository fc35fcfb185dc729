/** How often an address is probed. */
export type ProbeInterval =
  | { readonly kind: 'fixed'; readonly ms: number }
  /** As Cilium 1.19: it grows with the logarithm of the number of addresses; `ratio` 0..1, its default 0.5. */
  | { readonly kind: 'ratio'; readonly ratio: number };

/** From one probe of an address to the next, with so many addresses, in ms. */
export function periodMs(interval: ProbeInterval, addresses: number): number {
  if (interval.kind === 'fixed') return interval.ms;
  return (10 + 100 * interval.ratio) * Math.log1p(Math.max(1, addresses)) * 1000;
}
