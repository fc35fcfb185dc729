import { type HealthOptions, healthBlock } from './health.ts';
import { type ModuleHealth, modulesHealth } from './modules.ts';
import {
  clusterMeshLines,
  controllerLines,
  deviceNames,
  deviceText,
  encryptionText,
  hubbleText,
  isFailing,
  kubeProxyDetails,
  nested,
  onOff,
  staleText,
} from './status-parts.ts';
import { layoutTabs, row, trimLines } from './tabwriter.ts';
import type { Compat, HealthView, Opt, StateView, StatusView } from './types.ts';

export interface StatusOptions {
  readonly compat?: Compat;
  readonly allAddresses?: boolean;
  readonly allControllers?: boolean;
  readonly allHealth?: boolean;
  readonly allRedirects?: boolean;
  readonly allClusters?: boolean;
  readonly verbose?: boolean;
  /** Realtime, milliseconds since the epoch: ages are counted from here. */
  readonly nowMs: number;
}

export interface StatusInput {
  readonly status: StatusView;
  /** What the health agent answered; undefined when nobody probes, `unreachable` when its socket fails. */
  readonly health?: HealthView | 'unreachable' | undefined;
  readonly modules?: readonly ModuleHealth[] | undefined;
}

function stateRow(label: string, state: Opt<StateView>, compat: Compat): string {
  if (!state) return compat === undefined ? '' : '';
  return row([`${label}:`, state.state ?? '', state.msg ?? '']);
}

function monitorLines(monitor: StatusView['nodeMonitor']): string {
  if (!monitor) return row(['NodeMonitor:', 'Disabled']);
  const { cpus, npages, pagesize, lost, unknown } = monitor;
  const pages = `${npages ?? 0}x${pagesize ?? 0} of shared memory`;
  return (
    row(['NodeMonitor:', `Listening for events on ${cpus ?? 0} CPUs with ${pages}`]) +
    row(['', `${lost ?? 0} events lost, ${unknown ?? 0} unknown notifications`])
  );
}

function addresses(ipam: NonNullable<StatusView['ipam']>): string {
  const allocations = Object.entries(ipam.allocations ?? {});
  const known = allocations.map(([ip, owner]) => `  ${ip} (${owner})\n`).sort();
  const bare = [...(ipam.ipv4 ?? []), ...(ipam.ipv6 ?? [])].map((ip) => `  ${ip}\n`);
  return `Allocated addresses:\n${(known.length > 0 ? known : bare).join('')}`;
}

function proxyHead(proxy: NonNullable<StatusView['proxy']>, count: number): string {
  const where = `ip ${proxy.ip ?? ''}, ${count} redirects active on ports ${proxy['port-range'] ?? ''}`;
  // Ours says how its process is; Cilium's, who runs it.
  if (proxy.state == null) return `OK, ${where}, Envoy: ${proxy['envoy-deployment-mode'] ?? 'none'}`;
  const problem = (proxy.msg ?? '') === '' ? '' : ` (${proxy.msg})`;
  return `${proxy.state === 'Ok' ? 'OK' : proxy.state}${problem}, ${where}`;
}

function proxyLines(proxy: StatusView['proxy'], all: boolean): string {
  if (!proxy) return row(['Proxy Status:', 'No managed proxy redirect']);
  const redirects = proxy.redirects ?? [];
  const text = proxyHead(proxy, proxy['total-redirects'] ?? redirects.length);
  if (!all || redirects.length === 0) return row(['Proxy Status:', text]);
  const rows = redirects.map((r) => row([`  ${r.proxy ?? ''}`, r.name ?? '', r['proxy-port'] ?? 0]));
  return row(['Proxy Status:', text]) + nested(row(['  Protocol', 'Redirect', 'Proxy Port']) + rows.join(''));
}

/** From the stores to the monitor. */
function controlLines(status: StatusView): string {
  const kpr = status['kube-proxy-replacement'];
  const firewall = status['host-firewall'];
  const apis = status.kubernetes?.['k8s-api-versions'] ?? [];
  const stale = Object.keys(status.stale ?? {}).length > 0 ? staleText(status.stale ?? {}) : '';
  const srv6 = status.srv6;
  return [
    stateRow('KVStore', status.kvstore, undefined),
    stateRow('ContainerRuntime', status['container-runtime'], undefined),
    stateRow('Kubernetes', status.kubernetes, undefined),
    apis.length > 0
      ? row([
          'Kubernetes APIs:',
          `[${[...apis]
            .sort()
            .map((api) => JSON.stringify(api))
            .join(', ')}]`,
        ])
      : '',
    kpr
      ? row(['KubeProxyReplacement:', kpr.mode ?? '', kpr.mode === 'True' ? `[${deviceText(kpr)}]` : ''])
      : '',
    firewall
      ? row([
          'Host firewall:',
          firewall.mode ?? '',
          ...(firewall.mode === 'Enabled' ? [`[${(firewall.devices ?? []).join(', ')}]`] : []),
        ])
      : '',
    srv6
      ? row([
          'SRv6:',
          ...(srv6.enabled === true ? ['Enabled', `[${srv6.srv6EncapMode ?? ''}]`] : ['Disabled']),
        ])
      : '',
    status['cni-chaining'] ? row(['CNI Chaining:', status['cni-chaining'].mode ?? '']) : '',
    status['cni-file'] ? row(['CNI Config file:', status['cni-file'].msg ?? '']) : '',
    status.cilium ? row(['Cilium:', `${status.cilium.state ?? ''}   ${status.cilium.msg ?? ''}`]) : '',
    stale === '' ? '' : row(['Stale status:', stale]),
    monitorLines(status.nodeMonitor),
  ].join('');
}

function bigTcp(family: string, big: StatusView['ipv4-big-tcp']): string {
  if (!big) return '';
  const cells = big.enabled === true ? ['Enabled', `[${big.maxGSO ?? 0}]`] : ['Disabled'];
  return row([`${family} BIG TCP:`, ...cells]);
}

function bandwidth(manager: StatusView['bandwidth-manager']): string {
  if (!manager) return '';
  const on = `EDT with BPF [${(manager.congestionControl ?? '').toUpperCase()}] [${(manager.devices ?? []).join(', ')}]`;
  return row(['BandwidthManager:', manager.enabled === true ? on : 'Disabled']);
}

function masquerading(status: StatusView): string {
  const { masquerading: masq } = status;
  if (!masq) return '';
  if (masq.enabled !== true) return row(['Masquerading:', 'Disabled']);
  const protocols = `[IPv4: ${onOff(masq.enabledProtocols?.ipv4)}, IPv6: ${onOff(masq.enabledProtocols?.ipv6)}]`;
  if (masq.mode !== 'BPF') return row(['Masquerading:', `IPTables ${protocols}`]);
  const excluded = [masq['snat-exclusion-cidr-v4'], masq['snat-exclusion-cidr-v6']].filter(
    (cidr) => (cidr ?? '') !== '',
  );
  const devices = `[${deviceNames(status['kube-proxy-replacement'])}]`;
  return row(['Masquerading:', 'BPF', devices, `${excluded.join(' ')}  ${protocols}`]);
}

function clock(source: StatusView['clock-source']): string {
  if (!source) return '';
  const cells = source.mode === 'jiffies' ? ['jiffies', `[${source.hertz ?? 0} Hz]`] : [source.mode ?? ''];
  return row(['Clock Source for BPF:', ...cells]);
}

/** Addressing, routing and what the datapath does with packets. */
function networkLines(status: StatusView, options: StatusOptions): string {
  const all = options.verbose === true;
  const routing = status.routing;
  const tunnel =
    (routing?.['tunnel-protocol'] ?? '') === '' ? '' : ` [${routing?.['tunnel-protocol'] ?? ''}]`;
  const network = `Network: ${routing?.['inter-host-routing-mode'] ?? ''}${tunnel}`;
  const mesh = status['cluster-mesh']?.clusters;
  return [
    status.ipam
      ? row(['IPAM:', status.ipam.status ?? `${(status.ipam.ipv4 ?? []).length} IPv4 addresses allocated`])
      : '',
    status.ipam && (all || options.allAddresses === true) ? addresses(status.ipam) : '',
    mesh ? clusterMeshLines(mesh, all || options.allClusters === true, options.nowMs) : '',
    bigTcp('IPv4', status['ipv4-big-tcp']),
    bigTcp('IPv6', status['ipv6-big-tcp']),
    bandwidth(status['bandwidth-manager']),
    routing ? row(['Routing:', `${network}   Host: ${routing['intra-host-routing-mode'] ?? ''}`]) : '',
    (status['attach-mode'] ?? '') === ''
      ? ''
      : row(['Attach Mode:', (status['attach-mode'] ?? '').toUpperCase()]),
    (status['datapath-mode'] ?? '') === '' ? '' : row(['Device Mode:', status['datapath-mode'] ?? '']),
    masquerading(status),
    all ? clock(status['clock-source']) : '',
  ].join('');
}

function mapLines(maps: StatusView['bpf-maps']): string {
  if (!maps) return '';
  const ratio = maps['dynamic-size-ratio'] ?? 0;
  const text = ratio > 0 ? `dynamic sizing: on (ratio: ${ratio.toFixed(6)})` : 'dynamic sizing: off';
  const rows = (maps.maps ?? []).map((map) => row([`  ${map.name ?? ''}`, map.size ?? 0]));
  return row(['BPF Maps:', text]) + nested(row(['  Name', 'Size']) + rows.join(''));
}

function identityRange(range: StatusView['identity-range'], compat: Compat): string {
  const label = 'Global Identity Range:';
  if (!range) return compat === '1.19' ? row([label, 'Unknown']) : '';
  return row([label, `min ${range['min-identity'] ?? 0}, max ${range['max-identity'] ?? 0}`]);
}

/** Ours. Which of them fail is said with `--verbose`. */
function balancedServices(services: StatusView['services'], all: boolean): string {
  if (!services) return '';
  const failed = services.failed ?? [];
  const which = all ? `: ${failed.join(', ')}` : '';
  const problem = failed.length === 0 ? '' : `, ${failed.length} not in the datapath${which}`;
  return row(['Services:', `${services.count ?? 0}${problem}`]);
}

/** Controllers, proxy, services, identities, flows, encryption. */
function serviceLines(status: StatusView, options: StatusOptions): string {
  const all = options.verbose === true;
  const kpr = status['kube-proxy-replacement'];
  return [
    controllerLines(status.controllers ?? [], all || options.allControllers === true, options.nowMs),
    proxyLines(status.proxy, all || options.allRedirects === true),
    options.compat === undefined ? balancedServices(status.services, all) : '',
    identityRange(status['identity-range'], options.compat),
    status.hubble ? `Hubble:\t${hubbleText(status.hubble, status['hubble-metrics'])}\n` : '',
    all && kpr && (options.compat !== undefined || kpr.mode === 'True') ? kubeProxyDetails(kpr) : '',
    all && (options.compat !== undefined || (status['bpf-maps']?.maps ?? []).length > 0)
      ? mapLines(status['bpf-maps'])
      : '',
    status.encryption ? `Encryption:\t${encryptionText(status.encryption)}\n` : '',
  ].join('');
}

/** All that is said of the agent itself, with tabs, to be laid out together with what the caller adds. */
export function statusLines(status: StatusView, options: StatusOptions): string {
  const daemon = status.cluster?.ciliumHealth;
  return [
    controlLines(status),
    daemon ? row(['Cilium health daemon:', daemon.state ?? '', daemon.msg ?? '']) : '',
    networkLines(status, options),
    serviceLines(status, options),
  ].join('');
}

/** The `Cluster health` tail of `status`. */
export function healthTail(health: StatusInput['health'], options: StatusOptions): string {
  if (health === undefined) return row(['Cluster health:', 'Probe disabled']);
  if (health === 'unreachable')
    return row(['Cluster health:', 'Warning', 'cilium-health daemon unreachable']);
  const all = options.verbose === true;
  const block: HealthOptions = {
    compat: options.compat,
    verbose: all,
    onlyUnhealthy: !all && options.allHealth !== true,
  };
  return healthBlock(health, block);
}

/** `status` in the layout of 1.19; without `compat` what the agent does not speak of is left out. */
export function statusText(input: StatusInput, options: StatusOptions): string {
  const text = [
    statusLines(input.status, options),
    healthTail(input.health, options),
    input.modules ? modulesHealth(input.modules, options.verbose === true, options.nowMs) : '',
  ];
  const laidOut = layoutTabs(text.join(''), { minWidth: 2 });
  return options.compat === undefined ? trimLines(laidOut) : laidOut;
}

/** The first part that is not well, as `status --brief` names it; undefined when all is. */
export function briefProblem(status: StatusView): string | undefined {
  const parts: readonly (readonly [string, Opt<StateView>])[] = [
    ['kvstore', status.kvstore],
    ['container runtime', status['container-runtime']],
    ['kubernetes', status.kubernetes],
    ['cilium', status.cilium],
    ['cilium-health', status.cluster?.ciliumHealth],
  ];
  const bad = parts.find(([, part]) => part && part.state !== 'Ok' && part.state !== 'Disabled');
  if (bad !== undefined) return `${bad[0]}: ${bad[1]?.msg ?? ''}`;
  const failing = (status.controllers ?? []).find(isFailing);
  return failing && `controller ${failing.name ?? ''}: ${failing.status?.['last-failure-msg'] ?? ''}`;
}

/** Whether the agent calls itself well: decides the exit code of `status`. */
export function isAgentWell(status: StatusView): boolean {
  return status.cilium?.state === 'Ok' || status.cilium?.state === 'Disabled';
}
