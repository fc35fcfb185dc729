import { probeKindIndex, type RowNote } from '../model/health.ts';
import type { NodeView } from './node-view.ts';
import type { PathBook } from './path-book.ts';
import { filteredPaths, hasConnected } from './state/filtered.ts';
import type { PathTracker } from './state/path-tracker.ts';

export interface LoneFilterDeps {
  readonly book: Pick<PathBook, 'ailing' | 'trackers'>;
  readonly view: () => NodeView;
}

const AGENT = probeKindIndex('host-host/http');

/**
 * A filter of requests in a cluster of two, where nobody else asks the peer, and what it says of itself does not come through.
 * A kernel takes connections for an agent that hangs, until it has no room for more; a filter lets none be made from the first on.
 */
export class LoneFilter {
  readonly #deps: LoneFilterDeps;
  /** When the silence began, monotonic ms, in which the peer's kernel took a connection. */
  readonly #connectedIn = new WeakMap<PathTracker, number>();
  #found: readonly PathTracker[] = [];

  constructor(deps: LoneFilterDeps) {
    this.#deps = deps;
  }

  /** Of our paths to the other node. */
  notes(): readonly RowNote[] {
    return this.#found.map((tracker) => {
      const { peer, kind, family } = tracker.path;
      return { peer, kind, family, fault: 'http-filtered', lossPoint: undefined, sinceMs: tracker.sinceMs };
    });
  }

  /** All paths have been looked at once more. @returns whether its notes have changed */
  look(): boolean {
    const before = this.#found;
    this.#found = this.#deps.view().nodes.length === 2 ? this.#filtered() : [];
    return before.length !== this.#found.length || before.some((one, i) => this.#found[i] !== one);
  }

  #filtered(): PathTracker[] {
    const { book } = this.#deps;
    const silent = [...book.ailing].filter(
      ({ path, state }) => path.kind === AGENT && state === 'unreachable',
    );
    for (const tracker of silent)
      if (hasConnected(tracker)) this.#connectedIn.set(tracker, tracker.sinceNowMs);
    const unconnected = silent.filter((one) => this.#connectedIn.get(one) !== one.sinceNowMs);
    return [...filteredPaths(unconnected, (peer) => book.trackers(peer)).keys()];
  }
}
