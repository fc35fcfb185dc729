import { layoutTabs, row, trimLines } from './tabwriter.ts';
import type { EndpointHealthView, EndpointLogView, EndpointView, LabelsView, ViewOptions } from './types.ts';

const ENABLED: Readonly<Record<string, readonly [ingress: string, egress: string]>> = {
  none: ['Disabled', 'Disabled'],
  ingress: ['Enabled', 'Disabled'],
  egress: ['Disabled', 'Enabled'],
  both: ['Enabled', 'Enabled'],
  'audit-ingress': ['Disabled (Audit)', 'Disabled'],
  'audit-egress': ['Disabled', 'Disabled (Audit)'],
  'audit-both': ['Disabled (Audit)', 'Disabled (Audit)'],
};

function addressesOf(endpoint: EndpointView): readonly [ipv6: string, ipv4: string] {
  const addressing = endpoint.status?.networking?.addressing;
  if (addressing === null || addressing === undefined || addressing.length === 0) return ['No address', ''];
  const [first] = addressing;
  return [first?.ipv6 ?? '', first?.ipv4 ?? ''];
}

function endpointRows(endpoint: EndpointView): string {
  const { status } = endpoint;
  const [ingress, egress] = ENABLED[status?.policy?.realized?.['policy-enabled'] ?? ''] ?? [
    'Unknown',
    'Unknown',
  ];
  const [ipv6, ipv4] = addressesOf(endpoint);
  const labels = [...(status?.labels?.['security-relevant'] ?? [])].sort();
  const identity = status?.identity?.id ?? '<no label id>';
  const [first = 'no labels', ...rest] = labels;
  const head = [endpoint.id ?? 0, ingress, egress, identity, first, ipv6, ipv4, status?.state ?? ''];
  const more = rest.map((label) => row(['', '', '', '', label, '', '', ''], true));
  return row(head, true) + more.join('');
}

/** `endpoint list`: one endpoint a block, its labels one a line; by id. */
export function endpointList(endpoints: readonly EndpointView[], options: ViewOptions = {}): string {
  const sorted = [...endpoints].sort((a, b) => (a.id ?? 0) - (b.id ?? 0));
  const policy = ['POLICY (ingress)', 'POLICY (egress)'];
  const names = ['ENDPOINT', ...policy, 'IDENTITY', 'LABELS (source:key[=value])', 'IPv6', 'IPv4', 'STATUS'];
  const header = row(names, true) + row(['', 'ENFORCEMENT', 'ENFORCEMENT', '', '', '', ''], true);
  const text = (options.noHeaders === true ? '' : header) + sorted.map(endpointRows).join('');
  const laidOut = layoutTabs(text, { minWidth: 5 });
  return options.compat === undefined ? trimLines(laidOut) : laidOut;
}

/** `endpoint log`: newest first, as the agent answers. */
export function endpointLog(log: readonly EndpointLogView[], options: ViewOptions = {}): string {
  const header = row(['Timestamp', 'Status', 'State', 'Message']);
  const rows = log.map((e) => row([e.timestamp ?? '', e.code ?? '', e.state ?? '', e.message ?? '']));
  return layoutTabs((options.noHeaders === true ? '' : header) + rows.join(''), { minWidth: 2 });
}

/** `endpoint health`. */
export function endpointHealth(health: EndpointHealthView): string {
  const text =
    row(['Overall Health:', health.overallHealth ?? 'Unknown']) +
    row(['BPF Health:', health.bpf ?? 'Unknown']) +
    row(['Policy Health:', health.policy ?? 'Unknown']) +
    row(['Connected:', health.connected === true ? 'yes' : 'no']);
  return layoutTabs(text, { minWidth: 2 });
}

/** `endpoint labels`: every label with what it does for the endpoint. */
export function endpointLabels(labels: LabelsView, options: ViewOptions = {}): string {
  const { status } = labels;
  const user = new Set(status?.realized?.user ?? []);
  const kinds: readonly (readonly [readonly string[], string])[] = [
    [status?.['security-relevant'] ?? [], 'security-relevant'],
    [status?.derived ?? [], 'derived'],
    [status?.disabled ?? [], 'disabled'],
  ];
  const rows = kinds.flatMap(([list, kind]) =>
    [...list].sort().map((label) => row([label, user.has(label) ? `${kind}, user` : kind])),
  );
  const header = options.noHeaders === true ? '' : row(['LABEL', 'STATE']);
  return layoutTabs(header + rows.join(''), { minWidth: 2 });
}
