import { expectShape } from '../api/answer-shape.ts';
import type { ClusterNodeStatus, NodeElement, StatusResponse } from '../api/schema.ts';
import { CiliateError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Clock } from './clock.ts';
import type { NodeProvider, NodeView } from './node-view.ts';
import { type HealthNode, healthNode } from './targets.ts';

export interface AgentNodesOptions {
  /** Name of our node, where the caller knows it before the agent says it. */
  readonly self?: string | undefined;
  readonly pollMs?: number | undefined;
}

export interface AgentNodesDeps {
  /** `GET /cluster/nodes` with this client-id. */
  readonly nodeChanges: (clientId: number) => Promise<ClusterNodeStatus>;
  /** `GET /healthz`: an agent of 2018 has its nodes there, and no `/cluster/nodes`. */
  readonly healthz?: (() => Promise<StatusResponse>) | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

const DEFAULT_POLL_MS = 2000;

/** @throws SourceError code SOURCE_BAD_ANSWER */
function elements(
  changes: ClusterNodeStatus,
  field: 'nodes-added' | 'nodes-removed',
): readonly NodeElement[] {
  return expectShape(changes[field], 'list', { source: 'the agent', what: field }) as readonly NodeElement[];
}

/**
 * The agent's node list, kept up by differences. While the agent is away the last view stays. An agent that does not
 * know our client-id (restarted) answers with all nodes and a new id: the view is then replaced, not merged.
 */
class AgentNodes implements NodeProvider {
  readonly #options: AgentNodesOptions;
  readonly #deps: AgentNodesDeps;
  readonly #listeners: (() => void)[] = [];
  #nodes = new Map<string, HealthNode>();
  #clientId = 0;
  #self: string | undefined;
  #stale: NodeView['stale'];
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(options: AgentNodesOptions, deps: AgentNodesDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#self = options.self;
  }

  async start(): Promise<void> {
    await this.#poll();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
  }

  view(): NodeView {
    return { self: this.#self, nodes: [...this.#nodes.values()], stale: this.#stale };
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async #poll(): Promise<void> {
    const { clock, log } = this.#deps;
    try {
      const changes = await this.#ask();
      if (this.#stopped) return;
      this.#apply(changes);
      if (this.#stale !== undefined) log.info({}, 'the agent answers again: node list renewed');
      this.#stale = undefined;
    } catch (error) {
      if (this.#stopped) return;
      if (this.#stale === undefined) {
        log.warn({ reason: errorText(error) }, 'no node list from the agent: the last one stays');
      }
      this.#stale = { sinceMs: this.#stale?.sinceMs ?? clock.wallMs(), reason: errorText(error) };
    }
    this.#cancel = clock.after(this.#options.pollMs ?? DEFAULT_POLL_MS, () => void this.#poll());
  }

  async #ask(): Promise<ClusterNodeStatus> {
    const { nodeChanges, healthz } = this.#deps;
    try {
      return await nodeChanges(this.#clientId);
    } catch (error) {
      if (healthz === undefined || !(error instanceof CiliateError) || error.code !== 'NOT_FOUND')
        throw error;
      const { self, nodes = [] } = (await healthz()).cluster ?? {};
      // Without a client-id: the whole list, each time.
      return { ...(self === undefined ? {} : { self }), 'nodes-added': nodes, 'nodes-removed': [] };
    }
  }

  #apply(changes: ClusterNodeStatus): void {
    const id = changes['client-id'] ?? 0;
    const anew = id === 0 || id !== this.#clientId;
    const before = this.#nodes;
    const nodes = new Map(anew ? [] : before);
    for (const { name } of elements(changes, 'nodes-removed')) nodes.delete(name ?? '');
    for (const element of elements(changes, 'nodes-added'))
      nodes.set(element.name ?? '', healthNode(element));
    this.#clientId = id;
    this.#self = changes.self ?? this.#self;
    this.#nodes = nodes;
    if (JSON.stringify([...before]) !== JSON.stringify([...nodes])) {
      for (const listener of this.#listeners) listener();
    }
  }
}

export function createAgentNodes(options: AgentNodesOptions, deps: AgentNodesDeps): NodeProvider {
  return new AgentNodes(options, deps);
}
