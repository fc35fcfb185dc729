import { row, tableText } from './tabwriter.ts';

interface EnforcementView {
  readonly ingress: boolean;
  readonly egress: boolean;
}

/** What the layout reads of an impact (see src/policy/impact.ts). */
export interface ImpactView {
  readonly rulesAdded: number;
  readonly rulesRemoved: number;
  readonly endpoints: readonly {
    readonly endpoint: number;
    readonly labels: readonly string[];
    readonly before: EnforcementView;
    readonly after: EnforcementView;
    readonly entriesGained: number;
    readonly entriesLost: number;
    readonly requestsChanged: boolean;
    readonly locked?: string | undefined;
  }[];
  readonly flows: readonly {
    readonly endpoint: number;
    readonly direction: string;
    readonly peer: string;
    /** `80/TCP`. */
    readonly traffic: string;
    /** `POST /v1/x`. */
    readonly request?: string | undefined;
    readonly count: number;
    readonly lastSeen: string;
    readonly before: string;
    readonly after: string;
    readonly reason: string;
    readonly rules: readonly string[];
  }[];
  readonly flowsSeen: number;
  readonly flowsUnjudged: number;
  readonly cutsOff: boolean;
}

const word = (enforced: boolean): string => (enforced ? 'Enabled' : 'Disabled');

function change(before: boolean, after: boolean): string {
  return before === after ? word(after) : `${word(before)} -> ${word(after)}`;
}

function endpointRows(impact: ImpactView): string {
  const rows = impact.endpoints.map((one) =>
    row([
      one.endpoint,
      change(one.before.ingress, one.after.ingress),
      change(one.before.egress, one.after.egress),
      `+${one.entriesGained} -${one.entriesLost}${one.requestsChanged ? ', L7' : ''}`,
      one.locked === undefined ? one.labels.join(',') : `LOCKED: ${one.locked}`,
    ]),
  );
  return row(['ENDPOINT', 'INGRESS', 'EGRESS', 'ENTRIES', 'LABELS']) + rows.join('');
}

function flowRows(impact: ImpactView): string {
  const worstFirst = [...impact.flows].sort(
    (a, b) => Number(b.after === 'denied') - Number(a.after === 'denied') || b.count - a.count,
  );
  const rows = worstFirst.map((flow) =>
    row([
      `${flow.before} -> ${flow.after}`,
      flow.endpoint,
      flow.direction,
      flow.peer,
      flow.request === undefined ? flow.traffic : `${flow.traffic} ${flow.request}`,
      flow.count,
      flow.lastSeen === '' ? 'unknown' : flow.lastSeen,
      flow.rules.length === 0 ? flow.reason : `${flow.reason}: ${flow.rules.join(', ')}`,
    ]),
  );
  const names = ['VERDICT', 'ENDPOINT', 'DIRECTION', 'PEER', 'PORT/PROTO', 'COUNT', 'LAST SEEN', 'WHY'];
  return row(names) + rows.join('');
}

const plural = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** What it comes to. */
function sum(impact: ImpactView): string {
  const { endpoints, flows } = impact;
  const denied = flows.filter(({ after }) => after === 'denied').length;
  const locked = endpoints.filter((one) => one.locked !== undefined).length;
  const cut = [
    ...(locked > 0 ? [`everything of ${plural(locked, 'endpoint')}`] : []),
    ...(denied > 0 || locked === 0 ? [`${plural(denied, 'kind')} of flows or requests that pass now`] : []),
  ];
  if (impact.cutsOff) return `Cut off: ${cut.join(', and ')}\n`;
  if (endpoints.length + flows.length === 0) return 'Nothing would change\n';
  const unseen = flows.filter((flow) => flow.before === 'allowed' && flow.after === 'redirected').length;
  const undecided = flows.filter(({ after }) => after === 'undecided').length;
  const open = [
    ...(unseen > 0
      ? [`of ${plural(unseen, 'kind')} of flows the proxy would judge requests, unseen so far`]
      : []),
    ...(undecided > 0 ? [`${plural(undecided, 'kind')} of requests would pass or not by their headers`] : []),
  ];
  return `${['Nothing that was seen to pass is cut off', ...open].join('; ')}\n`;
}

/** `policy impact`: which endpoints change, which flows that were seen would have another verdict, and the sum. */
export function impactText(impact: ImpactView): string {
  const rules = `${plural(impact.rulesAdded, 'rule')} added, ${plural(impact.rulesRemoved, 'rule')} removed`;
  const seen = `${impact.flows.length} of ${plural(impact.flowsSeen, 'kind')} of flows and requests seen would change their verdict`;
  const gone = impact.flowsUnjudged > 0 ? `; of ${impact.flowsUnjudged} the peers are gone` : '';
  const parts = [
    `${rules}; ${plural(impact.endpoints.length, 'endpoint')} of this node would change\n`,
    ...(impact.endpoints.length > 0 ? [tableText(endpointRows(impact), 5, true)] : []),
    `${seen}${gone}\n`,
    ...(impact.flows.length > 0 ? [tableText(flowRows(impact), 5, true)] : []),
    sum(impact),
  ];
  return parts.join('\n');
}
