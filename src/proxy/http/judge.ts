import { createHash } from 'node:crypto';
import type { L7Filter } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import type { DirectionView, Flow, PolicyTable } from '../policy-table.ts';
import { EditedRequest } from './edited-request.ts';
import { MatchBudget } from './match-budget.ts';
import type { HeaderEdit } from './rewrite.ts';
import { HttpRuleSet, type JudgedRequest } from './rule-set.ts';

/** The verdict on one request, of all directions that judge it. */
export interface HttpVerdict {
  readonly allowed: boolean;
  /** Whose policy denied, or allowed last. */
  readonly direction: Direction;
  readonly rules: readonly string[];
  readonly edits: readonly HeaderEdit[];
  /** Why it was denied; or a remark that a rule wants logged. */
  readonly reason: string;
  /** Fields that rules which allowed it are about, in lower case: no trailer may say otherwise. */
  readonly fields: readonly string[];
}

export const TCP = 6;

/** Compiled rules that are kept for a later policy with the same ones; what was asked for longest ago goes first. */
const MAX_KEPT = 64;

/** All that `HttpRuleSet` reads of filters: a policy that differs in peers or ports alone has the same. */
function contentOf(filters: readonly L7Filter[]): string {
  const text = JSON.stringify(filters.map(({ ruleName, l7 }) => [ruleName, l7 ?? null]));
  return createHash('sha256').update(text).digest('base64');
}

/**
 * Judges requests by the policy of the moment. Rules are compiled once, which may take a tenth of a second during which
 * nobody else on the node is served: policies come whenever a peer comes or goes, mostly with the rules of before.
 */
export class HttpJudge {
  readonly #sets = new WeakMap<DirectionView, HttpRuleSet>();
  /** By content, in the order of use. */
  readonly #kept = new Map<string, HttpRuleSet>();
  readonly #onProblem: (problem: string) => void;
  /** One for all: they share the thread. */
  readonly #budget: MatchBudget;

  /**
   * @param onProblem told of rules that cannot be used
   * @param nowNs monotonic clock, nanoseconds
   */
  constructor(onProblem: (problem: string) => void, nowNs?: () => number) {
    this.#onProblem = onProblem;
    this.#budget = new MatchBudget(nowNs);
  }

  #setOf(view: DirectionView): HttpRuleSet {
    const known = this.#sets.get(view);
    if (known !== undefined) return known;
    const set = this.#setFor(view.filters);
    this.#sets.set(view, set);
    return set;
  }

  #setFor(filters: readonly L7Filter[]): HttpRuleSet {
    const content = contentOf(filters);
    const set = this.#kept.get(content) ?? this.#compile(filters);
    this.#kept.delete(content);
    this.#kept.set(content, set);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return set;
  }

  #compile(filters: readonly L7Filter[]): HttpRuleSet {
    const set = new HttpRuleSet(filters, this.#budget);
    set.problems.forEach(this.#onProblem);
    return set;
  }

  /**
   * What will judge the requests of a flow; undefined: neither end is an endpoint of this node.
   * @param anyPeer that a peer which is no endpoint of this node may be anybody
   */
  prepare(table: PolicyTable, flow: Flow, anyPeer = false): readonly DirectionJudge[] | undefined {
    return table
      .views(flow, TCP, anyPeer)
      ?.map((view) => ({ direction: view.direction, rules: this.#setOf(view) }));
  }
}

/** The rules of one direction that apply to a flow. */
export interface DirectionJudge {
  readonly direction: Direction;
  readonly rules: HttpRuleSet;
}

/**
 * A request passes if each direction that judges it allows it. The server's rules see it as the client's leave it, as they
 * do where the server is on another node.
 * @param fallback direction of the listener, for records of requests that no direction judges
 */
export function judgeRequest(
  judges: readonly DirectionJudge[],
  request: JudgedRequest,
  fallback: Direction,
): HttpVerdict {
  let all: HttpVerdict | undefined;
  for (const judge of judges) {
    const changed =
      all === undefined || all.edits.length === 0 ? request : new EditedRequest(request, all.edits);
    const { allowed, rules, edits, remark, fields } = judge.rules.judge(changed);
    if (!allowed) return denied(judge.direction, remark === '' ? 'no rule allows it' : remark);
    const reasons = [all?.reason ?? '', remark].filter((text) => text !== '');
    all = {
      allowed,
      direction: judge.direction,
      rules: all === undefined ? rules : [...all.rules, ...rules],
      edits: all === undefined ? edits : [...all.edits, ...edits],
      reason: reasons.join(', '),
      fields: all === undefined ? fields : [...all.fields, ...fields],
    };
  }
  return all ?? { allowed: true, direction: fallback, rules: [], edits: [], reason: '', fields: [] };
}

/** The verdict on what nobody can judge. */
export function denied(direction: Direction, reason: string): HttpVerdict {
  return { allowed: false, direction, rules: [], edits: [], reason, fields: [] };
}
