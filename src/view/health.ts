import { formatDuration } from './duration.ts';
import { hasRoom, narrowText } from './narrow.ts';
import { printableField } from './printable.ts';
import { layoutTabs, row } from './tabwriter.ts';
import type { Compat, ConnectivityView, HealthNodeView, HealthView, Opt, PathView } from './types.ts';

export interface HealthOptions {
  readonly compat?: Compat;
  /** Every path with its round-trip times. */
  readonly verbose?: boolean;
  /** Only nodes that are not healthy, at most `UNHEALTHY_SHOWN` of them: the tail of `status`. */
  readonly onlyUnhealthy?: boolean;
}

/** How many unhealthy nodes `status` names before it writes `...`. */
const UNHEALTHY_SHOWN = 10;

export type Reachability = 'reachable' | 'unreachable' | 'unknown';

function failed(probe: Opt<ConnectivityView>): boolean {
  return (probe?.status ?? '') !== '';
}

/** A path is reachable when both probes answered, or one of them is filtered; unreachable when one failed, else unknown. */
export function pathReachability(path: PathView): Reachability {
  const down = [path.icmp, path.http].some((probe) => failed(probe) && probe?.filtered !== true);
  if (down) return 'unreachable';
  const both = path.icmp !== null && path.icmp !== undefined && path.http !== null && path.http !== undefined;
  return both ? 'reachable' : 'unknown';
}

function hostPaths(node: HealthNodeView): PathView[] {
  const primary = node.host?.['primary-address'];
  return [...(primary ? [primary] : []), ...(node.host?.['secondary-addresses'] ?? [])];
}

function endpointPaths(node: HealthNodeView): PathView[] {
  const paths = node['health-endpoint'];
  const primary = paths?.['primary-address'] ?? node.endpoint;
  return [...(primary ? [primary] : []), ...(paths?.['secondary-addresses'] ?? [])];
}

/** `1/2 (1 unknown)`: reachable addresses of all. */
function tally(paths: readonly PathView[]): string {
  const states = paths.map(pathReachability);
  const count = (state: Reachability): number => states.filter((s) => s === state).length;
  const unknown = count('unknown');
  const filtered = (['icmp', 'http'] as const).filter((by) =>
    paths.some((path) => path[by]?.filtered === true),
  );
  const notes = [
    ...(unknown > 0 ? [`${unknown} unknown`] : []),
    ...filtered.map((by) => `${by.toUpperCase()} filtered`),
  ];
  return `${count('reachable')}/${paths.length}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
}

/** State of a whole node: its worst path; a node without any path is unknown. */
export function nodeReachability(node: HealthNodeView): Reachability {
  const states = [...hostPaths(node), ...endpointPaths(node)].map(pathReachability);
  if (states.includes('unreachable')) return 'unreachable';
  return states.length === 0 || states.includes('unknown') ? 'unknown' : 'reachable';
}

/** In the 1.19 record an unknown node counts as healthy; here it does not. */
function isHealthy(node: HealthNodeView, compat: Compat): boolean {
  const state = nodeReachability(node);
  return state === 'reachable' || (compat === '1.19' && state === 'unknown');
}

/** Both of a node's primary paths answered every probe: how 2018 judged. */
function reachable2018(path: Opt<PathView>): boolean {
  return path !== null && path !== undefined && pathReachability(path) === 'reachable';
}

/** The local node first, the others by name. */
export function orderedNodes(health: HealthView): HealthNodeView[] {
  const local = health.local?.name;
  const key = (node: HealthNodeView): string => `${node.name === local ? 0 : 1}${node.name ?? ''}`;
  return [...(health.nodes ?? [])].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function title(node: HealthNodeView, health: HealthView): string {
  return `${printableField(node.name ?? '')}${node.name === health.local?.name ? ' (localhost)' : ''}`;
}

/** Why nothing was measured by ICMP to an address: it is off there, or it only was not its turn yet. */
function whyNoIcmp(ip: string, health: HealthView): string {
  const mode = health['icmp-modes']?.[ip.includes(':') ? 'ipv6' : 'ipv4'] ?? '';
  return mode.startsWith('off') ? `ICMP is ${mode}` : 'not probed yet';
}

interface ProbeLine {
  readonly label: string;
  readonly probe: Opt<ConnectivityView>;
  /** What is said where there is no result. */
  readonly why: string;
}

function probeLine({ label, probe, why }: ProbeLine, compat: Compat): string {
  if (probe === null || probe === undefined)
    return compat === undefined ? `      ${label}:\tunknown: ${why}\n` : '';
  const outcome = failed(probe) ? (probe.status ?? '') : `OK, RTT=${formatDuration(probe.latency ?? 0)}`;
  const probed = compat === '2018' ? '' : `\t(Last probed: ${probe.lastProbed ?? ''})`;
  return `      ${label}:\t${outcome}${probed}\n`;
}

/** What lines about paths are made of, besides the paths. */
interface PathContext {
  readonly health: HealthView;
  readonly compat: Compat;
  readonly verbose: boolean;
}

function pathBlock(name: string, path: PathView, { health, compat }: PathContext): string {
  const ip = path.ip ?? '';
  const old = compat === '2018';
  const icmp = { label: old ? 'ICMP' : 'ICMP to stack', probe: path.icmp, why: whyNoIcmp(ip, health) };
  const http = { label: old ? 'HTTP via L3' : 'HTTP to agent', probe: path.http, why: 'not probed yet' };
  return `    ${name} to ${ip}:\n${probeLine(icmp, compat)}${probeLine(http, compat)}`;
}

function group(kind: string, paths: readonly PathView[], context: PathContext): string {
  const { compat, verbose } = context;
  const [primary, ...secondary] = paths;
  if (primary === undefined)
    return verbose
      ? `    ${kind} connectivity:\t${compat === undefined ? 'unknown: no address' : 'nil'}\n`
      : '';
  const others = verbose ? secondary : [];
  return (
    pathBlock(`${kind} connectivity`, primary, context) +
    others.map((path) => pathBlock(`Secondary ${kind} connectivity`, path, context)).join('')
  );
}

function nodeDetail(node: HealthNodeView, context: PathContext): string {
  const host = group('Host', hostPaths(node), context);
  return `  ${title(node, context.health)}:\n${host}${group('Endpoint', endpointPaths(node), context)}`;
}

/** What the health agent says about itself: how it sends ICMP, and that it knows old nodes only. */
function agentLines(health: HealthView, { compat, verbose }: HealthOptions): string {
  if (compat !== undefined) return '';
  const { 'icmp-modes': modes, 'nodes-stale': stale } = health;
  const families = [modes?.ipv4 ? `IPv4 ${modes.ipv4}` : '', modes?.ipv6 ? `IPv6 ${modes.ipv6}` : ''];
  const known = families.filter((text) => text !== '').join(', ');
  const icmp = verbose === true && known !== '' ? `ICMP sockets:\t${known}\n` : '';
  return `${icmp}${stale ? `Node list:\told, of ${stale.since ?? 'an unknown time'}: ${stale.reason ?? 'no reason given'}\n` : ''}`;
}

function nodeRow(node: HealthNodeView, health: HealthView, compat: Compat): string {
  const ips = hostPaths(node).map((path) => path.ip ?? '');
  if (compat === '2018') {
    const states = [
      node.host?.['primary-address'],
      node['health-endpoint']?.['primary-address'] ?? node.endpoint,
    ];
    return row([
      `  ${title(node, health)}`,
      ips[0] ?? '',
      ...states.map((path) => String(reachable2018(path))),
    ]);
  }
  return row([`  ${title(node, health)}`, ips.join(','), tally(hostPaths(node)), tally(endpointPaths(node))]);
}

function healthy2018(node: HealthNodeView): boolean {
  return reachable2018(node.host?.['primary-address']) && reachable2018(endpointPaths(node)[0]);
}

/** The `Cluster health` block, with tabs, to be laid out by the caller together with what stands around it. */
export function healthBlock(health: HealthView, options: HealthOptions): string {
  const { compat } = options;
  const judge = (node: HealthNodeView): boolean =>
    compat === '2018' ? healthy2018(node) : isHealthy(node, compat);
  const nodes = orderedNodes(health);
  const good = nodes.filter(judge).length;
  const unknown =
    compat === undefined ? nodes.filter((node) => nodeReachability(node) === 'unknown').length : 0;
  const counts = `${good}/${nodes.length} reachable${unknown > 0 ? `, ${unknown} unknown` : ''}`;
  const interval = compat === '2018' ? '' : `\t(Probe interval: ${health.probeInterval ?? ''})`;
  const first = `Cluster health:\t${counts}\t(${health.timestamp ?? ''})${interval}\n`;
  const head = first + agentLines(health, options);
  const names =
    compat === '2018'
      ? ['  Name', 'IP', 'Reachable', 'Endpoints reachable']
      : ['Name', 'IP', 'Node', 'Endpoints'];
  const candidates = options.onlyUnhealthy === true ? nodes.filter((node) => !judge(node)) : nodes;
  const shown = options.onlyUnhealthy === true ? candidates.slice(0, UNHEALTHY_SHOWN) : candidates;
  const detail = (node: HealthNodeView): string =>
    options.verbose === true
      ? nodeDetail(node, { health, compat, verbose: true })
      : nodeRow(node, health, compat);
  // The record prints the header of an empty table too.
  const header = shown.length > 0 || compat !== undefined ? row(names) : '';
  return head + header + shown.map(detail).join('') + (shown.length < candidates.length ? '  ...\n' : '');
}

/** `health status` as 2018 printed it without flags: every primary path. */
function health2018(health: HealthView, verbose: boolean): string {
  const context: PathContext = { health, compat: '2018', verbose };
  const nodes = orderedNodes(health).map((node) => nodeDetail(node, context));
  return `${row(['Probe time:', health.timestamp ?? ''])}Nodes:\n${nodes.join('')}`;
}

/** `health status`: a line a node, or every path with `verbose`. */
export function healthStatus(
  health: HealthView,
  options: HealthOptions & { readonly succinct?: boolean; readonly width?: number } = {},
): string {
  const old = options.compat === '2018' && options.succinct !== true;
  const text = old ? health2018(health, options.verbose === true) : healthBlock(health, options);
  const table = layoutTabs(text, { minWidth: 2 });
  // Recorded outputs are whole lines whatever the terminal.
  return options.compat === undefined && !hasRoom(table, options.width)
    ? narrowText(text, options.width)
    : table;
}

/** Whether every path of every node is known to work: decides the exit code. */
export function allReachable(health: HealthView): boolean {
  return (health.nodes ?? []).every((node) => nodeReachability(node) === 'reachable');
}
