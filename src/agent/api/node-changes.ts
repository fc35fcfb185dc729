import type * as Api from '../../api/schema.ts';
import { stringifyJson } from '../../base/json.ts';

export interface NodeChangesDeps {
  /** Monotonic time in ms. */
  readonly now: () => number;
  /** A number in [0, 1). */
  readonly random: () => number;
}

interface Client {
  /** The nodes of the last answer: name -> JSON. */
  seen: ReadonlyMap<string, Api.NodeElement>;
  lastAsked: number;
}

/** A client that has not asked for so long starts anew. */
const CLIENT_LIFETIME_MS = 5 * 60_000;
const MAX_CLIENTS = 256;

/** What `GET /cluster/nodes` answers: all nodes, or, for a client that says its id, what changed since it last asked. */
export class NodeChanges {
  readonly #deps: NodeChangesDeps;
  readonly #clients = new Map<number, Client>();

  constructor(deps: NodeChangesDeps) {
    this.#deps = deps;
  }

  /** @param clientId of the request; `undefined`: all nodes and no id; one that is not known (0): all and a new id. */
  answer(
    current: { readonly self: string; readonly nodes: readonly Api.NodeElement[] },
    clientId: number | undefined,
  ): Api.ClusterNodeStatus {
    const { self, nodes } = current;
    if (clientId === undefined) return { self, 'nodes-added': nodes, 'nodes-removed': null };
    this.#forgetOld();
    const client = this.#clients.get(clientId);
    const seen = new Map(nodes.map((node) => [node.name ?? '', node]));
    const id = client === undefined ? this.#newId() : clientId;
    this.#clients.delete(id);
    this.#clients.set(id, { seen, lastAsked: this.#deps.now() });
    return { self, 'client-id': id, ...difference(client?.seen ?? new Map(), seen) };
  }

  #forgetOld(): void {
    const now = this.#deps.now();
    for (const [id, client] of this.#clients) {
      if (now - client.lastAsked > CLIENT_LIFETIME_MS || this.#clients.size > MAX_CLIENTS)
        this.#clients.delete(id);
    }
  }

  #newId(): number {
    for (;;) {
      const id = 1 + Math.floor(this.#deps.random() * (Number.MAX_SAFE_INTEGER - 1));
      if (!this.#clients.has(id)) return id;
    }
  }
}

/** A node that changed is removed and added, as a client applies removals first. */
function difference(
  before: ReadonlyMap<string, Api.NodeElement>,
  after: ReadonlyMap<string, Api.NodeElement>,
) {
  const changed = (node: Api.NodeElement, other: Api.NodeElement | undefined): boolean =>
    other === undefined || stringifyJson(node) !== stringifyJson(other);
  return {
    'nodes-added': [...after.values()].filter((node) => changed(node, before.get(node.name ?? ''))),
    'nodes-removed': [...before.values()].filter((node) => changed(node, after.get(node.name ?? ''))),
  };
}
