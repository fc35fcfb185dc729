import type { L7Policy } from '../model/l7.ts';
import type { ProxyEndpoint } from '../model/proxy-protocol.ts';
import { type Flow, PolicyTable } from './policy-table.ts';
import type { FlowEnd, FlowIdentities, FlowOf } from './types.ts';

/** The L7 policy in force; undefined until the agent sent the first one, and nothing passes until then. */
export class PolicyHolder {
  #table: PolicyTable | undefined;

  get table(): PolicyTable | undefined {
    return this.#table;
  }

  /** What begins from now on is judged by this policy. */
  apply(policy: L7Policy, endpoints: readonly ProxyEndpoint[]): void {
    this.#table = new PolicyTable(policy, endpoints);
  }
}

/** What can be said of ends that nobody knows. */
function unknownFlow(client: FlowEnd, server: FlowEnd): Flow {
  return {
    client: { ...client, identity: 0, endpoint: 0 },
    server: { ...server, identity: 0, endpoint: 0 },
    subjects: { client: undefined, server: undefined },
  };
}

function isSame(a: Flow, b: Flow): boolean {
  const same = (x: Flow['client'], y: Flow['client']): boolean =>
    x.identity === y.identity && x.endpoint === y.endpoint;
  const { subjects } = a;
  return (
    same(a.client, b.client) &&
    same(a.server, b.server) &&
    subjects.client === b.subjects.client &&
    subjects.server === b.subjects.server
  );
}

/**
 * The ends of one connection as the datapath knows them at each moment. A packet that comes after a change is judged anew
 * before its bytes are here, so what is read after that packet is judged by what is true since.
 */
export class TrackedFlow {
  readonly #holder: PolicyHolder;
  readonly #flowOf: FlowOf;
  readonly #protocol: number;
  readonly client: FlowEnd;
  readonly server: FlowEnd;
  #table: PolicyTable | undefined;
  #identities: FlowIdentities | undefined;
  #flow: Flow | undefined;

  constructor(
    deps: { readonly holder: PolicyHolder; readonly flowOf: FlowOf },
    ends: { readonly client: FlowEnd; readonly server: FlowEnd; readonly protocol: number },
  ) {
    this.#holder = deps.holder;
    this.#flowOf = deps.flowOf;
    this.#protocol = ends.protocol;
    this.client = ends.client;
    this.server = ends.server;
  }

  /**
   * The same object as long as neither policy nor ends changed.
   * @returns undefined when there is no policy, or the kernel does not know the flow
   */
  current(): Flow | undefined {
    const { table } = this.#holder;
    if (table === this.#table && this.#flow !== undefined && this.#identities?.holds?.() !== false)
      return this.#flow;
    this.#identities = table && this.#flowOf(this.client, this.server, this.#protocol);
    const flow = table && this.#identities && table.flow(this.client, this.server, this.#identities);
    const before = table === this.#table ? this.#flow : undefined;
    this.#flow = flow !== undefined && before !== undefined && isSame(flow, before) ? before : flow;
    this.#table = table;
    return this.#flow;
  }

  /**
   * Whether the datapath has said who the ends are since any of them changed: it does with the flow's next packet. Until then a
   * peer that is no endpoint of this node may have an identity of before, which rules do not know any more.
   */
  get isCertain(): boolean {
    return this.#identities?.holds?.() !== false;
  }

  /** For log records: what was judged by last, or what is known when nothing was; with identity 0 where nothing is. */
  ends(): Flow {
    return this.#flow ?? this.current() ?? unknownFlow(this.client, this.server);
  }
}
