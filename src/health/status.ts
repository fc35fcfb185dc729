import type { ProbeReadiness } from '../../probes/types.ts';
import type { HealthStatusResponse } from '../api/schema.ts';
import type { IpFamily } from '../base/ip.ts';
import type { Clock } from './clock.ts';
import type { NodeProvider } from './node-view.ts';
import type { PathBook } from './path-book.ts';
import { NodeStates } from './state/node-states.ts';
import { type StatusFrame, statusResponse } from './status-response.ts';
import { StatusText } from './status-text.ts';

export interface StatusDeps {
  readonly nodes: NodeProvider;
  readonly book: Pick<PathBook, 'trackers' | 'layout'>;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly intervalMs: () => number;
  readonly icmp: (family: IpFamily) => ProbeReadiness;
}

/** The last results in Cilium's form. */
export class HealthStatus {
  readonly #deps: StatusDeps;
  readonly #text = new StatusText();
  /** Of the node list. */
  #changes = 0;
  #roundMs: number;

  constructor(deps: StatusDeps) {
    this.#deps = deps;
    this.#roundMs = deps.clock.wallMs();
    deps.nodes.onChange(() => this.#changes++);
  }

  /** A round over all addresses begins now. */
  beginRound(): void {
    this.#roundMs = this.#deps.clock.wallMs();
  }

  /** Begins a round when the last one is over, or the clock was put back. */
  tick(): void {
    const sinceMs = this.#deps.clock.wallMs() - this.#roundMs;
    if (sinceMs < 0 || sinceMs >= this.#deps.intervalMs()) this.beginRound();
  }

  answer(): HealthStatusResponse {
    return statusResponse({ ...this.#frame(), trackers: this.#deps.book.trackers() });
  }

  /** The answer as JSON in UTF-8: much less work where little has changed since the last one. */
  text(): Buffer<ArrayBuffer> {
    const { book } = this.#deps;
    return this.#text.text({
      ...this.#frame(),
      // Both only grow.
      layout: this.#changes + book.layout,
      states: () => new NodeStates(book.trackers()),
    });
  }

  #frame(): StatusFrame {
    const { nodes, intervalMs, icmp } = this.#deps;
    return {
      view: nodes.view(),
      roundMs: this.#roundMs,
      intervalMs: intervalMs(),
      icmp: { 4: icmp(4), 6: icmp(6) },
    };
  }
}
