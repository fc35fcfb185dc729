import type { L7Policy } from '../model/l7.ts';
import type { ProxyEndpoint } from '../model/proxy-protocol.ts';
import { type Flow, PolicyTable } from './policy-table.ts';
import type { Clock, FlowEnd, FlowOf } from './types.ts';

/** How long identities that the kernel told are taken for true. */
const IDENTITIES_NS = 1e9;

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

/** The ends of one connection as they are known now: looked up again after a change of policy, and after a while. */
export class TrackedFlow {
  readonly #holder: PolicyHolder;
  readonly #flowOf: FlowOf;
  readonly #clock: Clock;
  readonly #protocol: number;
  readonly client: FlowEnd;
  readonly server: FlowEnd;
  #table: PolicyTable | undefined;
  #flow: Flow | undefined;
  #untilNs = 0;

  constructor(
    deps: { readonly holder: PolicyHolder; readonly flowOf: FlowOf; readonly clock: Clock },
    ends: { readonly client: FlowEnd; readonly server: FlowEnd; readonly protocol: number },
  ) {
    this.#holder = deps.holder;
    this.#flowOf = deps.flowOf;
    this.#clock = deps.clock;
    this.#protocol = ends.protocol;
    this.client = ends.client;
    this.server = ends.server;
  }

  /** @returns undefined when there is no policy, or the kernel does not know the flow */
  current(): Flow | undefined {
    const { table } = this.#holder;
    const now = this.#clock.monotonicNs();
    if (this.#flow !== undefined && table === this.#table && now < this.#untilNs) return this.#flow;
    const identities = table && this.#flowOf(this.client, this.server, this.#protocol);
    this.#flow = table && identities && table.flow(this.client, this.server, identities);
    this.#table = table;
    this.#untilNs = now + IDENTITIES_NS;
    return this.#flow;
  }

  /** For log records: what is known, with identity 0 where nothing is. */
  ends(): Flow {
    return (
      this.#flow ?? {
        client: { ...this.client, identity: 0, endpoint: 0 },
        server: { ...this.server, identity: 0, endpoint: 0 },
      }
    );
  }
}
