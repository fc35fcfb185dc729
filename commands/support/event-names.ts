import type { AgentClient } from '../../src/api/client.ts';
import { SourceError } from '../../src/api/source-error.ts';
import type { MonitorEvent } from '../../src/model/event.ts';
import { GENERATED_RULE_NAMES } from '../../src/model/generated-rules.ts';

/** How often at most an agent is asked again for names that it did not know. */
const ASK_AGAIN_MS = 1000;

/** Names by number, asked of the agent when a number turns up that is not known yet; one that is away knows none. */
class Names<T> {
  readonly #fetch: () => Promise<Iterable<readonly [number, T]>>;
  /** Known without asking, whatever the agent tells. */
  readonly #fixed: ReadonlyMap<number, T>;
  #known: ReadonlyMap<number, T>;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(
    fetch: () => Promise<Iterable<readonly [number, T]>>,
    fixed: ReadonlyMap<number, T> = new Map(),
  ) {
    this.#fetch = fetch;
    this.#fixed = fixed;
    this.#known = fixed;
  }

  of = (id: number): T | undefined => this.#known.get(id);

  async know(ids: readonly number[]): Promise<void> {
    if (ids.every((id) => id === 0 || this.#known.has(id))) return;
    const nowMs = performance.now();
    if (nowMs - this.#askedMs < ASK_AGAIN_MS) return;
    this.#askedMs = nowMs;
    try {
      this.#known = new Map([...this.#fixed, ...(await this.#fetch())]);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
    }
  }
}

/** The names of rules, by their numbers; a Cilium agent tells none. */
export function ruleNames(agent: AgentClient): Names<string> {
  return new Names(
    async () =>
      (await agent.policyRules())
        .filter(({ id }) => id !== 0)
        .map(({ id, name }) => [id, name === '' ? `rule ${id}` : name] as const),
    GENERATED_RULE_NAMES,
  );
}

/** What the numbers in events are called: rules, and the labels of identities. */
export class EventNames {
  readonly rules: Names<string>;
  readonly labels: Names<readonly string[]>;

  constructor(agent: AgentClient) {
    this.rules = ruleNames(agent);
    this.labels = new Names(async () =>
      (await agent.identities()).map(({ id, labels }) => [id ?? 0, labels ?? []] as const),
    );
  }

  /** Makes sure, as far as the agent knows, that an event can be shown by names. */
  async prepare(event: MonitorEvent): Promise<void> {
    if (event.kind === 'policy-verdict') await this.rules.know([event.ruleId]);
    if (event.kind === 'l7') await this.labels.know([event.source.identity, event.destination.identity]);
  }
}
