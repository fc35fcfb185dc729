import { errorText } from '../../base/errors.ts';
import type { L7Filter, PairKind, PairRule } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import { pairProblem } from '../../model/pair-rules.ts';
import type { Verdict } from '../judged-flow.ts';
import type { DirectionView } from '../policy-table.ts';

/** Whether a rule allows a request. */
export type PairMatcher<R> = (request: R) => boolean;

/** What requests of a protocol are, and how rules say which of them pass. */
export interface PairProtocol<R> {
  readonly kind: PairKind;
  /**
   * Compiles a rule that `pairProblem` finds nothing wrong with.
   * @throws RE2JSSyntaxException
   */
  compile(rule: PairRule): PairMatcher<R>;
  /** The request in the words of rules, for log records; undefined: only its denial is logged. */
  fields(request: R): Readonly<Record<string, string>> | undefined;
}

interface CompiledRule<R> {
  readonly matches: PairMatcher<R>;
  readonly ruleName: string;
}

interface CompiledView<R> {
  /** Name of a filter that lets every request pass. */
  readonly open: string | undefined;
  readonly rules: readonly CompiledRule<R>[];
}

/** Judges requests of one protocol of `l7proto`; compiles rules once a policy. */
export class PairJudge<R> {
  readonly #protocol: PairProtocol<R>;
  readonly #views = new WeakMap<DirectionView, CompiledView<R>>();
  readonly #onProblem: (problem: string) => void;

  /** @param onProblem told of rules that cannot be used, which allow nothing */
  constructor(protocol: PairProtocol<R>, onProblem: (problem: string) => void) {
    this.#protocol = protocol;
    this.#onProblem = onProblem;
  }

  /**
   * Requests that belong together pass if each direction that judges them allows every one.
   * @param fallback direction of the listener, for records of requests that no direction judges
   */
  judge(views: readonly DirectionView[], requests: readonly R[], fallback: Direction): Verdict {
    let direction = fallback;
    const names = new Set<string>();
    for (const view of views) {
      direction = view.direction;
      const { open, rules } = this.#compiled(view);
      if (open !== undefined) {
        names.add(open);
        continue;
      }
      for (const request of requests) {
        const rule = rules.find(({ matches }) => matches(request));
        if (rule === undefined) return { allowed: false, direction, rules: [], reason: 'no rule allows it' };
        names.add(rule.ruleName);
      }
    }
    return { allowed: true, direction, rules: [...names], reason: '' };
  }

  #compiled(view: DirectionView): CompiledView<R> {
    const known = this.#views.get(view);
    if (known !== undefined) return known;
    const compiled = {
      open: view.filters.find(({ l7 }) => l7 === undefined)?.ruleName,
      rules: view.filters.flatMap((filter) => this.#compileFilter(filter)),
    };
    this.#views.set(view, compiled);
    return compiled;
  }

  #compileFilter({ l7, ruleName }: L7Filter): CompiledRule<R>[] {
    if (l7?.kind !== this.#protocol.kind) return [];
    return l7.rules.flatMap((rule) => {
      const matches = this.#compileRule(rule as PairRule, ruleName);
      return matches === undefined ? [] : [{ matches, ruleName }];
    });
  }

  #compileRule(rule: PairRule, ruleName: string): PairMatcher<R> | undefined {
    const problem = pairProblem(this.#protocol.kind, rule)?.reason;
    try {
      if (problem === undefined) return this.#protocol.compile(rule);
      this.#onProblem(`${ruleName}: ${problem}`);
    } catch (error) {
      this.#onProblem(`${ruleName}: ${errorText(error)}`);
    }
    return undefined;
  }
}
