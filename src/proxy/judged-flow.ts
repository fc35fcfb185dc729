import type { AccessLogRecord } from '../model/l7.ts';
import type { Direction } from '../model/map-state.ts';
import type { ProxyHost } from './part.ts';
import { TrackedFlow } from './policy-holder.ts';
import type { DirectionView, Flow, PolicyTable } from './policy-table.ts';
import type { Accepted } from './tcp-acceptor.ts';
import type { FlowEnd } from './types.ts';

const TCP = 6;

/** What policy says of a request or a connection, of all directions that judge it. */
export interface Verdict {
  readonly allowed: boolean;
  /** Whose policy denied, or allowed last. */
  readonly direction: Direction;
  /** Names of the rules that allowed it. */
  readonly rules: readonly string[];
  readonly reason: string;
}

/**
 * Judges by the views of the directions that have a say.
 * @param fallback direction of the listener, for what no direction judges
 */
type JudgeByViews = (views: readonly DirectionView[], fallback: Direction) => Verdict;

interface Judging {
  readonly flow: Flow;
  readonly table: PolicyTable;
}

/** The flow of one TCP connection: has it judged by the policy and the identities of the moment, and logs verdicts. */
export class JudgedFlow {
  readonly #host: ProxyHost;
  readonly #tracked: TrackedFlow;
  readonly #direction: Direction;
  /** By which it was judged last, and by which while nothing came and its peer may have been anybody. */
  #judging: Judging | undefined;
  #judgingIdle: Judging | undefined;

  constructor(
    host: ProxyHost,
    { client, server, direction }: Pick<Accepted, 'client' | 'server' | 'direction'>,
  ) {
    this.#host = host;
    this.#direction = direction;
    this.#tracked = new TrackedFlow({ ...host, holder: host.policy }, { client, server, protocol: TCP });
  }

  get client(): FlowEnd {
    return this.#tracked.client;
  }

  get server(): FlowEnd {
    return this.#tracked.server;
  }

  /** Whether neither policy nor ends changed since it was judged last, `idle` or not. */
  isAsJudged(idle: boolean): boolean {
    const flow = this.#tracked.current();
    const { table } = this.#host.policy;
    const isBy = (last: Judging | undefined): boolean => flow === last?.flow && table === last?.table;
    return isBy(this.#judging) || (idle && !this.#tracked.isCertain && isBy(this.#judgingIdle));
  }

  /** @param idle nothing came since a change: until the datapath says who a peer of elsewhere is now, it may be anybody */
  judge(judgeBy: JudgeByViews, idle = false): Verdict {
    const flow = this.#tracked.current();
    const { table } = this.#host.policy;
    if (table === undefined) return this.denied('no policy yet');
    if (flow === undefined) return this.denied('unknown flow');
    const anyPeer = idle && !this.#tracked.isCertain;
    const views = table.views(flow, TCP, anyPeer);
    if (views === undefined) return this.denied('neither end is an endpoint of this node');
    if (anyPeer) this.#judgingIdle = { flow, table };
    else this.#judging = { flow, table };
    return judgeBy(views, this.#direction);
  }

  denied(reason: string): Verdict {
    return { allowed: false, direction: this.#direction, rules: [], reason };
  }

  /** Logs what became of a request. */
  record(verdict: Verdict, kind: AccessLogRecord['verdict'], l7: AccessLogRecord['l7']): void {
    const ends = this.#tracked.ends();
    this.#host.record({
      ...{ kind: 'l7', type: 'request', verdict: kind, direction: verdict.direction, rules: verdict.rules },
      time: new Date(this.#host.clock.realtimeMs()).toISOString(),
      source: ends.client,
      destination: ends.server,
      reason: verdict.reason,
      latencyNs: 0,
      l7,
    });
  }
}
