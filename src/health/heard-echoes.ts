import { probeKindIndex } from '../model/health.ts';
import type { Clock } from './clock.ts';
import { ECHO_MS, ECHOES } from './confirmer.ts';
import type { PathBook } from './path-book.ts';

export interface HeardEchoesDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'trackers' | 'burst'>;
  /** How many nodes there are: all of them may have heard the same. */
  readonly nodes: () => number;
  /** Whether this node tells the others of that peer. */
  readonly watches: (peer: string) => boolean;
  /** 0 to below 1. */
  readonly random: () => number;
}

const STACK = probeKindIndex('host-host/icmp');
/** All nodes together begin to ask one peer so often in a second: they wait for a random part of that time. */
const ASKED_PER_SECOND = 10_000;
const SPREAD_MOST_MS = 100;
/** Peers that this node asks in a second: a node that is cut off, or lies, tells of all others. */
const PEERS_PER_SECOND = 20;
/** From one time to the next for one peer. */
const APART_MS = 1000;

/**
 * Of a peer with a fault that another node has just told, the stack is asked at once by echoes: else a large cluster would know
 * of a death only when the turns of most nodes have come. Only nodes that watch the peer ask: they are the ones who tell.
 */
export class HeardEchoes {
  readonly #deps: HeardEchoesDeps;
  /** When peers were asked, monotonic ms, the longest ago first. */
  readonly #asked = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  #stopped = false;

  constructor(deps: HeardEchoesDeps) {
    this.#deps = deps;
  }

  /** Another node tells that a fault of these peers came or went. */
  heard(peers: Iterable<string>): void {
    if (this.#stopped) return;
    const { clock, watches } = this.#deps;
    const nowMs = clock.nowMs();
    for (const [peer, ms] of this.#asked) {
      if (nowMs - ms < APART_MS) break;
      this.#asked.delete(peer);
    }
    for (const peer of peers) {
      if (this.#asked.size >= PEERS_PER_SECOND) return;
      if (this.#asked.has(peer) || !watches(peer)) continue;
      this.#asked.set(peer, nowMs);
      this.#askSoon(peer);
    }
  }

  #askSoon(peer: string): void {
    const { clock, book, nodes, random } = this.#deps;
    const spreadMs = Math.min(SPREAD_MOST_MS, (nodes() * 1000) / ASKED_PER_SECOND);
    const cancel = clock.after(random() * spreadMs, () => {
      this.#waiting.delete(cancel);
      book.burst(
        book.trackers(peer).filter(({ path }) => path.kind === STACK),
        ECHOES,
        ECHO_MS,
      );
    });
    this.#waiting.add(cancel);
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#waiting) cancel();
    this.#waiting.clear();
  }
}
