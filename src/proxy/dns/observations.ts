import type { DnsObservation, ProxyToAgent } from '../../model/proxy-protocol.ts';

export interface ObservationsDeps {
  /** Says something to the agent. @returns false when there is none */
  readonly send: (message: ProxyToAgent) => boolean;
  /** Called for each answer that went on before its addresses were in force. */
  readonly onUnapplied: () => void;
}

interface Waiting {
  readonly release: () => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Answers that wait until the agent has put their addresses in force. None waits for ever: without an agent, or when it
 * takes too long, the answer goes on, and connections to its addresses stay denied until they are in force.
 */
export class Observations {
  readonly #deps: ObservationsDeps;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(timeoutMs: number, deps: ObservationsDeps) {
    this.#timeoutMs = timeoutMs;
    this.#deps = deps;
  }

  /** Tells the agent; `release` is called exactly once. */
  observe(observation: DnsObservation, release: () => void): void {
    const id = ++this.#lastId;
    if (!this.#deps.send({ type: 'dns-observed', id, observation })) {
      this.#deps.onUnapplied();
      release();
      return;
    }
    const timer = setTimeout(() => this.#giveUp(id), this.#timeoutMs);
    this.#waiting.set(id, { release, timer });
  }

  /** The agent has put the addresses in force. Other numbers than those that wait are ignored. */
  applied(id: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.release();
  }

  /** The agent is gone, and will not say any more what it has done. */
  agentGone(): void {
    for (const id of [...this.#waiting.keys()]) this.#giveUp(id);
  }

  #giveUp(id: number): void {
    this.#deps.onUnapplied();
    this.applied(id);
  }
}
