import type { PathState } from '../model/health.ts';
import type { Clock } from './clock.ts';
import type { PathBook } from './path-book.ts';

export interface ConfirmerDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'trackers' | 'burst' | 'tickPeer'>;
  /** The answers of these peers' paths are in, as far as they come. */
  readonly onHeard: (peers: ReadonlySet<string>) => void;
}

/** When the answers of a peer's other paths are looked for, after one of them died or came back. */
const HEAR_MS = [100, 400] as const;

/**
 * What else of a peer died or came back with a path: its other paths are asked at once, whatever their pace, and soon
 * heard. Peers that die together are heard together.
 */
export class Confirmer {
  readonly #deps: ConfirmerDeps;
  readonly #peers = new Set<string>();
  #stopped = false;

  constructor(deps: ConfirmerDeps) {
    this.#deps = deps;
  }

  /** A path of that peer has just come into this state. */
  confirm(peer: string, became: PathState): void {
    if (this.#stopped || this.#peers.has(peer)) return;
    const { clock, book } = this.#deps;
    this.#peers.add(peer);
    const all = book.trackers(peer);
    // One that is reachable may be so from before the outage.
    const others = became === 'unreachable' ? all.filter(({ state }) => state !== became) : all;
    book.burst(others, 1, 1);
    if (this.#peers.size > 1) return;
    const [firstMs, lastMs] = HEAR_MS;
    clock.after(firstMs, () => this.#hear());
    clock.after(lastMs, () => {
      this.#hear();
      this.#peers.clear();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #hear(): void {
    if (this.#stopped) return;
    const { clock, book, onHeard } = this.#deps;
    const at = { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
    for (const peer of this.#peers) book.tickPeer(peer, at);
    onHeard(this.#peers);
  }
}
