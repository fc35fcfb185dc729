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

/** What requests are judged by. */
interface Judging {
  readonly flow: Flow;
  readonly table: PolicyTable;
  readonly judges: readonly DirectionJudge[] | undefined;
}

/** The flow of one HTTP connection: judges its requests by the policy and the identities of the moment. */
export class HttpFlow implements ConnectionFlow {
  readonly direction: Direction;
  readonly #deps: FlowDeps;
  readonly #tracked: TrackedFlow;
  /** By which it was judged last, and by which while nothing came and its peer may have been anybody. */
  #judging: Judging | undefined;
  #judgingIdle: Judging | undefined;

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

  isChanged(idle: boolean): boolean {
    const flow = this.#tracked.current();
    const { table } = this.#deps.holder;
    const isBy = (last: Judging | undefined): boolean => flow === last?.flow && table === last?.table;
    if (flow === undefined || isBy(this.#judging)) return false;
    return !(idle && !this.#tracked.isCertain && isBy(this.#judgingIdle));
  }

  judge(request: JudgedRequest, idle = false): HttpVerdict {
    const { table } = this.#deps.holder;
    if (table === undefined) return denied(this.direction, 'no policy yet');
    const flow = this.#tracked.current();
    if (flow === undefined) return denied(this.direction, 'unknown flow');
    const { judges } = this.#prepared(table, flow, idle && !this.#tracked.isCertain);
    if (judges === undefined) return denied(this.direction, 'neither end is an endpoint of this node');
    return judgeRequest(judges, request, this.direction);
  }

  #prepared(table: PolicyTable, flow: Flow, anyPeer: boolean): Judging {
    const last = anyPeer ? this.#judgingIdle : this.#judging;
    if (last?.flow === flow && last.table === table) return last;
    const next = { flow, table, judges: this.#deps.judge.prepare(table, flow, anyPeer) };
    if (anyPeer) this.#judgingIdle = next;
    else this.#judging = next;
    return next;
  }

  dial(): ByteStream {
    return this.#deps.dialStream(this.#tracked.client, this.#tracked.server);
  }

  dialSocket(): ByteSocket {
    return this.#deps.dial(this.#tracked.client, this.#tracked.server);
  }
}
