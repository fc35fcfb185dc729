import { DnsPatternSet } from '../../model/dns-pattern.ts';
import type { DnsPattern, L7Filter } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import type { DirectionView, Flow, PolicyTable } from '../policy-table.ts';

/** What policy says of one name. */
export interface DnsVerdict {
  readonly allowed: boolean;
  /** Whose policy decided; of several directions that allow, the client's. */
  readonly direction: Direction;
  /** Names of the rules that allowed it. */
  readonly rules: readonly string[];
  readonly reason: string;
}

const EVERYTHING: DnsPattern = { kind: 'pattern', pattern: '*' };

/** The patterns of a filter; one without L7 rules lets every name through, one for another parser none. */
function patternsOf({ l7 }: L7Filter): readonly DnsPattern[] {
  if (l7 === undefined) return [EVERYTHING];
  return l7.kind === 'dns' ? l7.rules : [];
}

/** Judges names by the rules of DNS. What is compiled of filters lives as long as their view does. */
export class DnsJudge {
  readonly #compiled = new WeakMap<DirectionView, DnsPatternSet<string>>();

  #patterns(view: DirectionView): DnsPatternSet<string> {
    const known = this.#compiled.get(view);
    if (known !== undefined) return known;
    const entries = view.filters.flatMap((filter) =>
      patternsOf(filter).map((pattern) => [pattern, filter.ruleName] as const),
    );
    const patterns = new DnsPatternSet(entries);
    this.#compiled.set(view, patterns);
    return patterns;
  }

  /** @param name lower case, without the final dot @param protocol IANA number of the flow */
  judge(table: PolicyTable, flow: Flow, protocol: number, name: string): DnsVerdict {
    const views = table.views(flow, protocol);
    if (views === undefined)
      return { allowed: false, direction: 'egress', rules: [], reason: 'neither end is of this node' };
    const rules = new Set<string>();
    for (const view of views) {
      const found = this.#patterns(view).match(name);
      if (found.length === 0)
        return { allowed: false, direction: view.direction, rules: [], reason: 'no rule allows the name' };
      for (const rule of found) if (rule !== '') rules.add(rule);
    }
    return { allowed: true, direction: views[0]?.direction ?? 'egress', rules: [...rules], reason: '' };
  }
}
