import { expectShape } from '../api/answer-shape.ts';
import type { ClusterNodeStatus, NodeElement, StatusResponse } from '../api/schema.ts';
import { CiliateError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { inTurns, type Slices } from '../base/slices.ts';
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
/** Taken in one slice: some 5 ms. */
const NODES_A_SLICE = 1000;

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
  #nodes: ReadonlyMap<string, HealthNode> = new Map();
  /** The same, to be shown. */
  #list: readonly HealthNode[] = [];
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
    return { self: this.#self, nodes: this.#list, stale: this.#stale };
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async #poll(): Promise<void> {
    const { clock, log } = this.#deps;
    try {
      const changes = await this.#ask();
      if (this.#stopped) return;
      await this.#apply(changes);
      if (this.#stopped) return;
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

  async #apply(changes: ClusterNodeStatus): Promise<void> {
    const id = changes['client-id'] ?? 0;
    const isAnew = id === 0 || id !== this.#clientId;
    const removed = elements(changes, 'nodes-removed');
    const added = elements(changes, 'nodes-added');
    const before = isAnew ? new Map<string, HealthNode>() : this.#nodes;
    const isOther =
      isAnew || removed.length + added.length > 0
        ? await inTurns(this.#merge(before, removed, added), () => !this.#stopped)
        : false;
    if (isOther === undefined) return;
    this.#clientId = id;
    this.#self = changes.self ?? this.#self;
    if (isOther) for (const listener of this.#listeners) listener();
  }

  /** Takes the list. A node that is as it was stays the same object. @returns whether it is another list */
  *#merge(
    before: ReadonlyMap<string, HealthNode>,
    removed: readonly NodeElement[],
    added: readonly NodeElement[],
  ): Slices<boolean> {
    const known = this.#nodes;
    const nodes = new Map(before);
    for (const { name } of removed) nodes.delete(name ?? '');
    let isOther = false;
    for (const [i, element] of added.entries()) {
      if (i > 0 && i % NODES_A_SLICE === 0) yield;
      const node = healthNode(element);
      const was = known.get(node.name);
      const isSame = was !== undefined && isSameNode(was, node);
      isOther ||= !isSame;
      nodes.set(node.name, isSame ? was : node);
    }
    isOther ||= nodes.size !== known.size;
    if (isOther) [this.#nodes, this.#list] = [nodes, [...nodes.values()]];
    return isOther;
  }
}

function isSameNode(a: HealthNode, b: HealthNode): boolean {
  return (
    a.zone === b.zone &&
    a.targets.length === b.targets.length &&
    a.targets.every(({ kind, address, primary }, i) => {
      const other = b.targets[i];
      return other?.kind === kind && other.address === address && other.primary === primary;
    })
  );
}

export function createAgentNodes(options: AgentNodesOptions, deps: AgentNodesDeps): NodeProvider {
  return new AgentNodes(options, deps);
}
