import { printable, printableField } from './printable.ts';

/** What the layout reads of a trace (see src/policy/trace.ts). */
export interface TraceView {
  readonly from: string;
  readonly to: string;
  readonly traffic: string;
  /** Of a request that is traced, as it was asked for. */
  readonly request?: string | undefined;
  readonly verdict: string;
  readonly egress: TraceDirectionView;
  readonly ingress: TraceDirectionView;
  readonly notes: readonly string[];
  /** Labels that were not given and with which the verdict would be another one. */
  readonly dependsOn: readonly {
    readonly end: 'source' | 'destination';
    readonly labels: readonly string[];
    readonly verdict: string;
    readonly rule: string;
  }[];
}

export interface TraceDirectionView {
  readonly direction: 'ingress' | 'egress';
  readonly verdict: string;
  readonly reason: string;
  readonly rules: readonly TraceRuleView[];
  readonly others: readonly { readonly name: string; readonly place: string; readonly lacks: string }[];
}

export interface TraceRuleView {
  readonly id?: number | undefined;
  readonly name: string;
  readonly place: string;
  readonly decides: boolean;
  readonly requires?: string | undefined;
  readonly items: readonly TraceItemView[];
}

export interface TraceItemView {
  readonly field: string;
  readonly effect: 'allow' | 'deny';
  readonly matches: boolean;
  readonly reasons: readonly string[];
  readonly requestAllowed?: boolean | undefined;
  /** What requests must look like, a line each. */
  readonly l7: readonly string[];
}

const VERDICTS: Readonly<Record<string, string>> = {
  allowed: 'ALLOWED',
  redirected: 'ALLOWED, through the proxy',
  denied: 'DENIED',
};

function title(rule: { readonly id?: number | undefined; readonly name: string; readonly place: string }) {
  const id = rule.id === undefined ? '' : ` #${rule.id}`;
  return printableField(`rule${id} ${rule.name === '' ? '(no labels)' : rule.name}, ${rule.place}`);
}

function itemText(item: TraceItemView): string {
  const effect = item.effect === 'deny' ? 'denies' : 'allows';
  const verb = item.matches ? effect : 'does not match';
  const head = `      ${item.field} ${verb}: ${printableField(item.reasons.join('; '))}\n`;
  if (item.l7.length === 0) return head;
  const judged =
    item.requestAllowed === undefined
      ? 'requests that match one of'
      : item.requestAllowed
        ? 'the request matches one of'
        : 'the request matches none of';
  return `${head}        ${judged}:\n${item.l7.map((rule) => `          ${printableField(rule)}\n`).join('')}`;
}

function ruleText(rule: TraceRuleView): string {
  const requires =
    rule.requires === undefined ? '' : `      requires of its peers: ${printableField(rule.requires)}\n`;
  return `  ${rule.decides ? '*' : ' '} ${title(rule)}\n${requires}${rule.items.map(itemText).join('')}`;
}

function otherText(other: TraceDirectionView['others'][number]): string {
  return `    ${title(other)}: does not select it: ${printableField(other.lacks)}\n`;
}

function directionText(traced: TraceDirectionView, verbose: boolean): string {
  const where = traced.direction === 'egress' ? 'Egress of the source' : 'Ingress of the destination';
  const head = `${where}: ${traced.verdict}, ${traced.reason}\n`;
  const rules = traced.rules.map(ruleText).join('');
  const count = traced.others.length;
  if (verbose) return head + rules + traced.others.map(otherText).join('');
  const rest =
    count === 0 ? '' : `    ${count} ${count === 1 ? 'rule' : 'rules'} for others (shown with -v)\n`;
  return head + rules + rest;
}

/** Others are in the JSON. */
const HINGES_SHOWN = 5;

function hingesText(hinges: TraceView['dependsOn']): string {
  const lines = hinges
    .slice(0, HINGES_SHOWN)
    .map(({ end, labels, verdict, rule }) =>
      printableField(`With ${labels.join(',')} at the ${end}: ${VERDICTS[verdict] ?? verdict} (${rule})`),
    );
  const more = hinges.length - lines.length;
  return [...lines, ...(more > 0 ? [`${more} more sets of labels would change it (-o json)`] : [])]
    .map((line) => `${line}\n`)
    .join('');
}

/** `policy trace`: both ends, the rules of each direction with the deciding ones starred, and the verdict. */
export function traceText(trace: TraceView, options: { readonly verbose?: boolean } = {}): string {
  const request = trace.request === undefined ? '' : `\nRequest ${printableField(trace.request)}`;
  const verbose = options.verbose === true;
  const notes = trace.notes.map((note) => `Note: ${note}\n`).join('');
  const just = trace.dependsOn.length > 0 ? ', for just these labels' : '';
  return printable(
    `From    ${printableField(trace.from)}\nTo      ${printableField(trace.to)}\nOn      ${trace.traffic}${request}\n\n` +
      `${directionText(trace.egress, verbose)}\n${directionText(trace.ingress, verbose)}\n${notes}` +
      `Final verdict: ${VERDICTS[trace.verdict] ?? trace.verdict}${just}\n${hingesText(trace.dependsOn)}`,
  );
}
