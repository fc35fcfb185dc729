import {
  type TraceOptions,
  type TraceParty,
  type TraceQuery,
  type TraceResult,
  type TraceRule,
  tracePolicy,
} from '../../src/policy/index.ts';
import type { NamedParty } from './trace-party.ts';

/** Most identities of one end that are traced. */
const MOST_CARRIERS = 16;

export interface ChosenTrace {
  readonly query: TraceQuery;
  readonly result: TraceResult;
}

/** Whom labels stand for: all identities that carry them, else the party as it was named. */
function carriers({ party, carriers: all }: NamedParty): readonly TraceParty[] {
  return all.length === 0 ? [party] : all.slice(0, MOST_CARRIERS);
}

const RANK = { denied: 0, redirected: 1, allowed: 2 } as const;

/**
 * Traces the traffic of everybody whom the labels of both ends stand for.
 * @param notes is told how many there are, when they are several, and what comes of the others
 * @returns the first that is denied, else the first that passes the proxy, else the first
 */
export function chooseTrace(
  ends: { readonly source: NamedParty; readonly destination: NamedParty },
  asked: {
    readonly rules: readonly TraceRule[];
    readonly l4: TraceQuery['l4'];
    readonly options: TraceOptions;
    readonly notes: string[];
  },
): ChosenTrace {
  const { rules, l4, options, notes } = asked;
  const traces = carriers(ends.source).flatMap((source) =>
    carriers(ends.destination).map((destination): ChosenTrace => {
      const query = { source, destination, l4 };
      return { query, result: tracePolicy(rules, query, options) };
    }),
  );
  const [first] = [...traces].sort((a, b) => RANK[a.result.verdict] - RANK[b.result.verdict]);
  if (first === undefined) throw new RangeError('nobody to trace');
  for (const { words, carriers: all } of [ends.source, ends.destination]) {
    if (all.length === 0) continue;
    const traced = all.length > MOST_CARRIERS ? `, of which ${MOST_CARRIERS} are traced` : '';
    notes.push(`${all.length} identities carry ${words}${traced}`);
  }
  const same = traces.filter(({ result }) => result.verdict === first.result.verdict).length;
  if (traces.length > 1)
    notes.push(
      same === traces.length
        ? `all ${traces.length} pairs of them have the same verdict: shown is the first`
        : `${same} of ${traces.length} pairs of them have the verdict that is shown, of the first of these`,
    );
  return first;
}
