import type * as Api from '../api/schema.ts';
import type { OptionTable, Origin } from '../base/config.ts';
import { type Cidr, formatCidr } from '../base/ip.ts';
import { AGENT_OPTIONS, type AgentOptions } from './options.ts';
import { monitorView, type StatusDeps } from './status.ts';

/** What `config` shows beside the running agent. */
export interface ConfigView {
  readonly options: AgentOptions;
  /** By option name; undefined when the agent was made as an object. */
  readonly origins: Readonly<Record<string, Origin>> | undefined;
  readonly storeSpec: string;
  /** Options as Cilium names them. */
  readonly mutable: Readonly<Record<string, string>>;
}

function isCidr(value: unknown): value is Cidr {
  return (
    typeof value === 'object' && value !== null && 'family' in value && 'length' in value && 'bytes' in value
  );
}

/** An option's value as JSON shows it. */
function plain(value: unknown): unknown {
  if (isCidr(value)) return formatCidr(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null && 'port' in value) {
    const { host, port } = value as { host?: string | undefined; port: number };
    return `${host?.includes(':') === true ? `[${host}]` : (host ?? '')}:${port}`;
  }
  return value ?? '';
}

/** GET /config. */
export function configView(view: ConfigView, deps: StatusDeps): Api.DaemonConfiguration {
  const table: OptionTable = AGENT_OPTIONS;
  const values = Object.entries(view.options).map(
    ([name, value]) => [name, table[name]?.format?.(value) ?? plain(value)] as const,
  );
  const origins = Object.keys(view.options).map(
    (name) => [name, view.origins?.[name]?.text ?? 'caller'] as const,
  );
  const realized = { options: view.mutable, 'policy-enforcement': deps.policy.mode };
  const self = deps.cluster.nodes()[0];
  const address = (ip: string | undefined, range: string | undefined): Api.NodeAddressingElement =>
    range === undefined ? {} : { enabled: true, ip, 'alloc-range': range };
  return {
    spec: realized,
    status: {
      realized,
      immutable: Object.fromEntries(values.map(([name, value]) => [name, String(value)])),
      addressing: {
        ipv4: address(deps.ipam.routerIp(4), self?.ipv4AllocRange),
        ipv6: address(deps.ipam.routerIp(6), self?.ipv6AllocRange),
      },
      nodeMonitor: monitorView(deps.monitor()),
      kvstoreConfiguration: { type: deps.store.kind, options: { address: view.storeSpec } },
      datapathMode: deps.datapath.kind === 'bpf' ? 'veth' : 'none',
      'ipam-mode': 'cluster-pool',
      masquerade: false,
      masqueradeProtocols: { ipv4: false, ipv6: false },
      daemonConfigurationMap: Object.fromEntries(values),
      configurationOrigins: Object.fromEntries(origins),
    },
  };
}
