import type { Direction } from '../../model/map-state.ts';
import { type PolicyHolder, TrackedFlow } from '../policy-holder.ts';
import type { Flow, PolicyTable } from '../policy-table.ts';
import type { ByteSocket, ByteStream, Clock, Dial, DialStream, FlowEnd, FlowOf } from '../types.ts';
import type { ConnectionFlow } from './connection.ts';
import { type DirectionJudge, denied, type HttpJudge, type HttpVerdict, judgeRequest, TCP } from './judge.ts';
import type { JudgedRequest } from './rule-set.ts';

export interface FlowDeps {
  readonly holder: PolicyHolder;
  readonly judge: HttpJudge;
  readonly flowOf: FlowOf;
  readonly dial: Dial;
  readonly dialStream: DialStream;
  readonly clock: Clock;
}

/** The flow of one HTTP connection: judges its requests by the policy and the identities of the moment. */
export class HttpFlow implements ConnectionFlow {
  readonly direction: Direction;
  readonly #deps: FlowDeps;
  readonly #tracked: TrackedFlow;
  #flow: Flow | undefined;
  #table: PolicyTable | undefined;
  #judges: readonly DirectionJudge[] | undefined;

  constructor(
    deps: FlowDeps,
    {
      client,
      server,
      direction,
    }: { readonly client: FlowEnd; readonly server: FlowEnd; readonly direction: Direction },
  ) {
    this.#deps = deps;
    this.direction = direction;
    this.#tracked = new TrackedFlow(deps, { client, server, protocol: TCP });
  }

  ends(): Flow {
    return this.#tracked.ends();
  }

  get isChanged(): boolean {
    const flow = this.#tracked.current();
    return flow !== undefined && (flow !== this.#flow || this.#deps.holder.table !== this.#table);
  }

  judge(request: JudgedRequest): HttpVerdict {
    const { table } = this.#deps.holder;
    if (table === undefined) return denied(this.direction, 'no policy yet');
    const flow = this.#tracked.current();
    if (flow === undefined) return denied(this.direction, 'unknown flow');
    if (flow !== this.#flow || table !== this.#table) {
      this.#flow = flow;
      this.#table = table;
      this.#judges = this.#deps.judge.prepare(table, flow);
    }
    if (this.#judges === undefined) return denied(this.direction, 'neither end is an endpoint of this node');
    return judgeRequest(this.#judges, request, this.direction);
  }

  dial(): ByteStream {
    return this.#deps.dialStream(this.#tracked.client, this.#tracked.server);
  }

  dialSocket(): ByteSocket {
    return this.#deps.dial(this.#tracked.client, this.#tracked.server);
  }
}
