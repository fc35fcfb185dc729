import type { Direction } from '../../model/map-state.ts';
import { serverNameMatcher } from '../../model/server-name.ts';
import type { Verdict } from '../judged-flow.ts';
import type { DirectionView } from '../policy-table.ts';

interface CompiledRule {
  readonly matches: (name: string) => boolean;
  readonly ruleName: string;
}

interface CompiledView {
  /** Name of a filter that lets every connection pass. */
  readonly open: string | undefined;
  readonly rules: readonly CompiledRule[];
}

function compile({ filters }: DirectionView): CompiledView {
  return {
    open: filters.find(({ l7 }) => l7 === undefined)?.ruleName,
    rules: filters.flatMap(({ l7, ruleName }) =>
      l7?.kind === 'tls' ? l7.rules.map((name) => ({ matches: serverNameMatcher(name), ruleName })) : [],
    ),
  };
}

/** Judges connections by the server that they ask for; compiles rules once a policy. */
export class TlsJudge {
  readonly #views = new WeakMap<DirectionView, CompiledView>();

  /**
   * A connection passes if each direction that judges it allows it: by a rule without names, whatever it is, or by one
   * that has its name.
   * @param serverName undefined when it has none, or is not known to be TLS
   * @param fallback direction of the listener, for records of connections that no direction judges
   */
  judge(views: readonly DirectionView[], serverName: string | undefined, fallback: Direction): Verdict {
    let direction = fallback;
    const rules: string[] = [];
    for (const view of views) {
      direction = view.direction;
      const compiled = this.#compiled(view);
      const name =
        compiled.open ??
        (serverName === undefined
          ? undefined
          : compiled.rules.find(({ matches }) => matches(serverName))?.ruleName);
      if (name === undefined) {
        const reason = serverName === undefined ? 'no server name' : 'no rule allows it';
        return { allowed: false, direction, rules: [], reason };
      }
      rules.push(name);
    }
    return { allowed: true, direction, rules, reason: '' };
  }

  #compiled(view: DirectionView): CompiledView {
    const known = this.#views.get(view);
    if (known !== undefined) return known;
    const compiled = compile(view);
    this.#views.set(view, compiled);
    return compiled;
  }
}
