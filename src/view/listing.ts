import { printableField } from './printable.ts';
import { layoutTabs, listed, row, trimLines } from './tabwriter.ts';
import type { IdentityView, IpView, MapView, NodeView, Opt, PolicyView, ViewOptions } from './types.ts';

function finish(text: string, minWidth: number, options: ViewOptions): string {
  const laidOut = layoutTabs(text, { minWidth });
  return options.compat === undefined ? trimLines(laidOut) : laidOut;
}

function header(cells: readonly string[], options: ViewOptions): string {
  return options.noHeaders === true ? '' : row(cells);
}

/** `identity list` and `identity get`: by number, labels one a line. */
export function identityList(identities: readonly IdentityView[], options: ViewOptions = {}): string {
  const sorted = [...identities].sort((a, b) => (a.id ?? 0) - (b.id ?? 0));
  const rows = sorted.map(({ id, labels }) => listed([id ?? 0, ''], 1, [...(labels ?? [])].sort(), false));
  return finish(header(['ID', 'LABELS'], options) + rows.join(''), 2, options);
}

/** `policy get`: the rules as the agent keeps them, then their revision. */
export function policyText(policy: PolicyView): string {
  const objects = (policy.objects ?? []).map((name) => `  ${printableField(name)}\n`).join('');
  const named = objects === '' ? '' : `Objects that rules may name:\n${objects}`;
  return `${policy.policy ?? '[]'}\n${named}Revision: ${policy.revision ?? 0}\n`;
}

/** Orders prefixes by family, address and length: a stable key of 16-byte hexadecimal text. */
function prefixKey(cidr: string): string {
  const [address = '', length = ''] = cidr.split('/');
  const suffix = length.padStart(3, '0');
  if (!address.includes(':')) {
    return `4${address
      .split('.')
      .map((part) => part.padStart(3, '0'))
      .join('')}${suffix}`;
  }
  const [left = '', right] = address.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0');
  return `6${[...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join('')}${suffix}`;
}

/** Order of prefixes or addresses: IPv4 first, by address, then by length. */
export function comparePrefixes(a: string, b: string): number {
  const [x, y] = [prefixKey(a), prefixKey(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

export interface IpListOptions extends ViewOptions {
  /** Labels of an identity; undefined where it is not known, and then its number is shown. */
  readonly labelsOf?: (identity: number) => readonly string[] | undefined;
  /** Adds the HOST and ENCRYPT_KEY columns. */
  readonly verbose?: boolean;
}

/** `ip list`: by prefix. */
export function ipList(entries: readonly IpView[], options: IpListOptions = {}): string {
  const sorted = [...entries].sort((a, b) => comparePrefixes(a.cidr ?? '', b.cidr ?? ''));
  const extra = options.verbose === true;
  const rows = sorted.map((entry) => {
    const identity = entry.identity ?? 0;
    const labels = options.labelsOf?.(identity) ?? [];
    const values = labels.length > 0 ? [...labels].sort() : [String(identity)];
    const more = extra ? [entry.hostIP ?? '', entry.encryptKey ?? 0] : [];
    return listed([entry.cidr ?? '', '', entry.metadata?.source ?? '', ...more], 1, values, false);
  });
  const names = ['IP', 'IDENTITY', 'SOURCE', ...(extra ? ['HOST', 'ENCRYPT_KEY'] : [])];
  return finish(header(names, options) + rows.join(''), 5, options);
}

/** `node list`: by name. */
export function nodeList(nodes: readonly NodeView[], options: ViewOptions = {}): string {
  const sorted = [...nodes].sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1));
  const source = options.compat !== '2018';
  const rows = sorted.map((node) => {
    const { ipv4, ipv6 } = node['primary-address'] ?? {};
    const addresses = [
      ipv4?.ip ?? '',
      ipv4?.['alloc-range'] ?? '',
      ipv6?.ip ?? '',
      ipv6?.['alloc-range'] ?? '',
    ];
    return row([node.name ?? '', ...addresses, ...(source ? [node.source ?? ''] : [])]);
  });
  const names = ['Name', 'IPv4 Address', 'Endpoint CIDR', 'IPv6 Address', 'Endpoint CIDR'];
  return finish(header(source ? [...names, 'Source'] : names, options) + rows.join(''), 0, options);
}

function baseName(path: Opt<string>): string {
  return (path ?? '').split('/').at(-1) ?? '';
}

/** `map list`: entries of the kernel's maps where they are known, and what the agent keeps of them in user space. */
export function mapList(maps: readonly MapView[], options: ViewOptions = {}): string {
  const ordered =
    options.compat === undefined
      ? [...maps].sort((a, b) => ((a.path ?? '') < (b.path ?? '') ? -1 : 1))
      : maps;
  const rows = ordered.map(({ path, cache, entries: held }) => {
    const known = cache !== null && cache !== undefined;
    const errors = (cache ?? []).filter((entry) => (entry['last-error'] ?? '') !== '').length;
    const entries = held ?? (known ? cache.length : options.compat === '2018' ? 0 : 'unknown');
    return row([baseName(path), entries, errors, String(known)]);
  });
  const names = ['Name', 'Num entries', 'Num errors', 'Cache enabled'];
  return finish(header(names, options) + rows.join(''), 5, options);
}

/** `map get`. */
export function mapEntries(map: MapView, options: ViewOptions = {}): string {
  const rows = (map.cache ?? []).map((e) =>
    row([e.key ?? '', e.value ?? '', e['desired-action'] ?? '', e['last-error'] ?? '']),
  );
  return finish(header(['Key', 'Value', 'State', 'Error'], options) + rows.join(''), 5, options);
}
