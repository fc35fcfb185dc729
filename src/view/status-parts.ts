import { formatAge, parseDuration, parseTime } from './duration.ts';
import { layoutTabs, row } from './tabwriter.ts';
import type { ControllerView, KubeProxyView, Opt, RemoteClusterView, StatusView } from './types.ts';

/** A table inside `status`: laid out on its own and pasted in as lines without tabs. */
export function nested(text: string): string {
  return layoutTabs(text, { minWidth: 0 });
}

export function onOff(value: Opt<boolean>): string {
  return value === true ? 'Enabled' : 'Disabled';
}

/** A controller fails while its last runs failed in a row. */
export function isFailing(controller: ControllerView): boolean {
  return (controller.status?.['consecutive-failure-count'] ?? 0) > 0;
}

function message(controller: ControllerView): string {
  const text = controller.status?.['last-failure-msg'] ?? '';
  return isFailing(controller) && text !== '' ? text : 'no error';
}

/** `h/n healthy` and a table of those that fail, or of all. */
export function controllerLines(controllers: readonly ControllerView[], all: boolean, nowMs: number): string {
  if (controllers.length === 0) return '';
  const failing = controllers.filter(isFailing);
  const shown = [...(all ? controllers : failing)].sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1));
  const head = `Controller Status:\t${controllers.length - failing.length}/${controllers.length} healthy\n`;
  if (shown.length === 0) return head;
  const rows = shown.map((c) => {
    const ages = [c.status?.['last-success-timestamp'], c.status?.['last-failure-timestamp']];
    const counts = c.status?.['consecutive-failure-count'] ?? 0;
    return row([`  ${c.name ?? ''}`, ...ages.map((t) => formatAge(t, nowMs)), counts, message(c)], true);
  });
  return head + nested(row(['  Name', 'Last success', 'Last error', 'Count', 'Message']) + rows.join(''));
}

export function deviceText(kpr: KubeProxyView): string {
  const listed = kpr.deviceList ?? [];
  if (listed.length === 0) return (kpr.devices ?? []).join(', ');
  const one = (name: string, ips: readonly string[]): string =>
    [name, ...ips].join(' ') + (name === kpr.directRoutingDevice ? ' (Direct Routing)' : '');
  return listed.map((device) => one(device.name ?? '', device.ip ?? [])).join(', ');
}

export function deviceNames(kpr: Opt<KubeProxyView>): string {
  const listed = (kpr?.deviceList ?? []).map((device) => device.name ?? '');
  return (listed.length > 0 ? listed : (kpr?.devices ?? [])).join(', ');
}

/** `KubeProxyReplacement Details`. */
export function kubeProxyDetails(kpr: KubeProxyView): string {
  const features = kpr.features ?? {};
  const port = features.nodePort;
  const algorithm = port?.algorithm ?? '';
  const range = `(Range: ${port?.portMin ?? 0}-${port?.portMax ?? 0}) `;
  const settings = [
    row(['  Status:', kpr.mode ?? '']),
    row(['  Socket LB:', onOff(features.socketLB?.enabled)]),
    row(['  Socket LB Tracing:', onOff(features.socketLBTracing?.enabled)]),
    row(['  Socket LB Coverage:', features.bpfSocketLBHostnsOnly === true ? 'Hostns-only' : 'Full']),
    row(['  Devices:', deviceText(kpr)]),
    row(['  Mode:', port?.mode ?? '']),
    row([
      '  Backend Selection:',
      algorithm === 'Maglev' ? `Maglev (Table Size: ${port?.lutSize ?? 0})` : algorithm,
    ]),
    row(['  Session Affinity:', onOff(features.sessionAffinity?.enabled)]),
    row(['  NAT46/64 Support:', onOff(features.nat46X64?.enabled)]),
    row(['  XDP Acceleration:', port?.acceleration ?? '']),
    '  Services:\n',
    row(['  - ClusterIP:', 'Enabled']),
    row(['  - NodePort:', port?.enabled === true ? `Enabled ${range}` : 'Disabled']),
    row(['  - LoadBalancer:', port?.enabled === true ? 'Enabled ' : 'Disabled']),
    row(['  - externalIPs:', features.externalIPs?.enabled === true ? 'Enabled ' : 'Disabled']),
    row(['  - HostPort:', onOff(features.hostPort?.enabled)]),
  ];
  const annotations = (features.annotations ?? []).map((name) => `  - ${name}\n`).join('');
  return `KubeProxyReplacement Details:\n${nested(settings.join(''))}${annotations === '' ? '' : `  Annotations:\n${annotations}`}`;
}

/** A time as Go's clients print it: RFC 3339 with milliseconds. */
function isoMs(text: string): string {
  const ms = parseTime(text);
  return ms === undefined ? text : new Date(ms).toISOString();
}

export function staleText(stale: Readonly<Record<string, string>>): string {
  const entries = Object.entries(stale).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([probe, since]) => `"${probe}" since ${isoMs(since)}`).join(', ');
}

function clusterTree(cluster: RemoteClusterView, nowMs: number): string {
  const { config, synced } = cluster;
  const exports = config?.['service-exports-enabled'];
  const support =
    exports === null || exports === undefined ? 'unsupported' : exports ? 'enabled' : 'disabled';
  const counts = [
    cluster.ready === true ? 'ready' : 'not-ready',
    `${cluster['num-nodes'] ?? 0} nodes`,
    `${cluster['num-endpoints'] ?? 0} endpoints`,
    `${cluster['num-identities'] ?? 0} identities`,
    `${cluster['num-shared-services'] ?? 0} services`,
    `${cluster['num-service-exports'] ?? 0} MCS-API service exports`,
    `${cluster['num-failures'] ?? 0} reconnections (last: ${formatAge(cluster['last-failure'], nowMs)})`,
  ];
  const remote = [
    `expected=${config?.required ?? false}`,
    `retrieved=${config?.retrieved ?? false}`,
    ...(config?.retrieved === true
      ? [
          `cluster-id=${config['cluster-id'] ?? 0}`,
          `kvstoremesh=${config.kvstoremesh ?? false}`,
          `sync-canaries=${config['sync-canaries'] ?? false}`,
          `service-exports=${support}`,
        ]
      : []),
  ];
  const sync = (['nodes', 'endpoints', 'identities', 'services'] as const).map(
    (k) => `${k}=${synced?.[k] ?? false}`,
  );
  return [
    `   ${cluster.name ?? ''}: ${counts.join(', ')}\n`,
    `   └  ${cluster.status ?? ''}\n`,
    `   └  remote configuration: ${remote.join(', ')}\n`,
    `   └  synchronization status: ${sync.join(', ')}\n`,
  ].join('');
}

/** `ClusterMesh` and a tree for each cluster that is not ready, or for all. */
export function clusterMeshLines(
  clusters: readonly RemoteClusterView[],
  all: boolean,
  nowMs: number,
): string {
  const ready = clusters.filter((cluster) => cluster.ready === true).length;
  const shown = all ? clusters : clusters.filter((cluster) => cluster.ready !== true);
  const trees = shown.map((cluster) => clusterTree(cluster, nowMs)).join('');
  return `ClusterMesh:\t${ready}/${clusters.length} remote clusters ready\n${trees}`;
}

/** Flows and their rate over the observer's life. */
export function hubbleText(
  hubble: NonNullable<StatusView['hubble']>,
  metrics: Opt<{ state?: Opt<string> }>,
): string {
  const { observer } = hubble;
  if (observer === null || observer === undefined)
    return `${hubble.state ?? 'Disabled'}\t${hubble.msg ?? ''}`;
  const current = observer['current-flows'] ?? 0;
  const max = observer['max-flows'] ?? 0;
  const percent = max > 0 ? ((current / max) * 100).toFixed(2) : '0.00';
  const seconds = Number(parseDuration(observer.uptime ?? '') ?? 0n) / 1e9;
  const rate = seconds > 0 ? ((observer['seen-flows'] ?? 0) / seconds).toFixed(2) : '0.00';
  const flows = `Current/Max Flows: ${current}/${max} (${percent}%), Flows/s: ${rate}`;
  return `${hubble.state ?? ''}\t${flows}\tMetrics: ${metrics?.state ?? 'Disabled'}`;
}

export function encryptionText(encryption: NonNullable<StatusView['encryption']>): string {
  const { wireguard } = encryption;
  if (encryption.mode !== 'Wireguard' || !wireguard)
    return `${encryption.mode ?? ''}\t${encryption.msg ?? ''}`;
  const interfaces = (wireguard.interfaces ?? []).map(
    (i) =>
      `${i.name ?? ''} (Pubkey: ${i['public-key'] ?? ''}, Port: ${i['listen-port'] ?? 0}, Peers: ${i['peer-count'] ?? 0})`,
  );
  return `Wireguard\t[${[`NodeEncryption: ${wireguard['node-encryption'] ?? ''}`, ...interfaces].join(', ')}]`;
}
