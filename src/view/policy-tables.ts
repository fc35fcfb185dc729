import { row, tableText } from './tabwriter.ts';
import type {
  FqdnLookupView,
  FqdnNamesView,
  Opt,
  RuleStatusView,
  SelectorView,
  ViewOptions,
} from './types.ts';

const MIN_WIDTH = 5;

function table(text: string, options: ViewOptions): string {
  return tableText(text, MIN_WIDTH, options.compat === undefined);
}

function header(names: readonly string[], options: ViewOptions, end = false): string {
  return options.noHeaders === true ? '' : row(names, end);
}

type LabelView = NonNullable<NonNullable<SelectorView['labels']>[number]>;

function labelText({ source, key, value }: LabelView): string {
  return `${source ?? ''}:${key ?? ''}${(value ?? '') === '' ? '' : `=${value}`}`;
}

/** `namespace/name` of the object whose rule brought the selector; empty where it was none. */
function objectName(labels: readonly LabelView[]): string {
  const valueOfKey = (key: string): Opt<string> => labels.find((label) => label.key === key)?.value;
  const name = valueOfKey('io.cilium.k8s.policy.name') ?? '';
  const namespace = valueOfKey('io.cilium.k8s.policy.namespace') ?? '';
  return name === '' || namespace === '' ? name : `${namespace}/${name}`;
}

function selectorRows(entry: SelectorView, verbose: boolean): string {
  const labels = (entry.labels ?? []).filter((label) => label != null);
  const origin = verbose ? labels.map(labelText).sort().join(', ') : objectName(labels);
  const [first, ...rest] = entry.identities ?? [];
  const cells = [entry.selector ?? '', origin, entry.users ?? 0];
  const head = row(first === undefined ? cells : [...cells, first], true);
  return head + rest.map((identity) => row(['', '', '', identity], true)).join('');
}

/** `policy selectors` and `policy subject-selectors`: by text, the identities that each picks one a line. */
export function selectorTable(
  entries: readonly SelectorView[],
  options: ViewOptions & { /** All labels of the rules. */ readonly verbose?: boolean } = {},
): string {
  const sorted = [...entries].sort((a, b) => ((a.selector ?? '') < (b.selector ?? '') ? -1 : 1));
  const rows = sorted.map((entry) => selectorRows(entry, options.verbose === true));
  return table(header(['SELECTOR', 'LABELS', 'USERS', 'IDENTITIES'], options) + rows.join(''), options);
}

/** `fqdn cache list`: by endpoint, then by name. */
export function fqdnCacheTable(lookups: readonly FqdnLookupView[], options: ViewOptions = {}): string {
  const key = (a: FqdnLookupView): string => `${String(a['endpoint-id'] ?? 0).padStart(5)} ${a.fqdn ?? ''}`;
  const rows = [...lookups]
    .sort((a, b) => (key(a) < key(b) ? -1 : 1))
    .map((lookup) =>
      row(
        [
          lookup['endpoint-id'] ?? 0,
          lookup.source ?? '',
          lookup.fqdn ?? '',
          lookup.ttl ?? 0,
          millisecondsText(lookup['expiration-time']),
          (lookup.ips ?? []).join(','),
        ],
        true,
      ),
    );
  const names = ['Endpoint', 'Source', 'FQDN', 'TTL', 'ExpirationTime', 'IPs'];
  return table(header(names, options, true) + rows.join(''), options);
}

/** A time with three digits of a second, as the recorded tool writes it; what is no time is shown as it came. */
function millisecondsText(time: Opt<string>): string {
  const ms = Date.parse(time ?? '');
  return Number.isNaN(ms) ? (time ?? '') : new Date(ms).toISOString();
}

/** `fqdn names`: what `toFQDNs` rules ask for, and the expression that names are held against. */
export function fqdnNamesTable(names: FqdnNamesView, options: ViewOptions = {}): string {
  const rows = (names.FQDNPolicySelectors ?? []).map((entry) =>
    row([entry?.selectorString ?? '', entry?.regexString ?? '']),
  );
  return table(header(['SELECTOR', 'REGEX'], options) + rows.sort().join(''), options);
}

/** Of many ids the first ones, and how many there are. */
function idsText(ids: readonly number[]): string {
  const shown = [...ids]
    .sort((a, b) => a - b)
    .slice(0, 8)
    .join(',');
  if (ids.length === 0) return 'none';
  return ids.length > 8 ? `${shown},... (${ids.length})` : shown;
}

/** `policy rules`: in the order in which the rules were added. */
export function ruleTable(rules: readonly RuleStatusView[], options: ViewOptions = {}): string {
  const rows = rules.map(({ id, name, endpoints, connections, requests }) =>
    row([
      id ?? 0,
      (name ?? '') === '' ? '-' : (name ?? ''),
      idsText(endpoints ?? []),
      connections?.allowed ?? 0,
      connections?.denied ?? 0,
      connections?.redirected ?? 0,
      requests?.allowed ?? 0,
      requests?.denied ?? 0,
    ]),
  );
  const names = ['RULE', 'NAME', 'ENDPOINTS', 'ALLOWED', 'DENIED', 'REDIRECTED', 'L7 ALLOWED', 'L7 DENIED'];
  return table(header(names, options) + rows.join(''), options);
}
