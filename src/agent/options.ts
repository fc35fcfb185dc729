import { hostname } from 'node:os';
import type { OptionValues } from '../base/config.ts';
import { type Cidr, parseCidr } from '../base/ip.ts';
import { LOG_LEVELS } from '../base/log.ts';
import {
  type ListenAddress,
  parseAbsolutePath,
  parseAddress,
  parseBoolean,
  parseHostName,
  parseInteger,
  parseList,
  parseListenAddress,
  parseNodeName,
  parseOneOf,
  parseOptional,
  parseRange,
} from '../base/option-parsers.ts';
import { DEFAULT_BPF_DIR, DEFAULT_STATE_DIR } from '../base/paths.ts';
import { LabelFilter } from '../model/label-filter.ts';
import { FQDN_DEFAULTS, type FqdnOptions } from '../policy/fqdn.ts';
import { HEALTH_OPTIONS } from './health-options.ts';
import {
  formatMilliseconds,
  option,
  parseAnyAddress,
  parseConntrackEntries,
  parseMillisecondsOrNone,
  parseNodeLabel,
  parseStore,
} from './option-values.ts';

/** Environment variables of the agent's options begin with it: `CILIATE_IPV4_RANGE`. */
export const AGENT_ENVIRONMENT_PREFIX = 'CILIATE';

/** Every option of the agent: flag, variable and file of the config folder share the name. */
export const AGENT_OPTIONS = {
  'node-name': option({
    description: "name of this node, unique in the cluster (default: the machine's name)",
    parse: parseNodeName,
    fallback: hostname().toLowerCase(),
    placeholder: 'NAME',
  }),
  'cluster-name': option({
    description: 'name of the cluster',
    parse: parseNodeName,
    fallback: 'default',
    placeholder: 'NAME',
  }),
  'state-dir': option({
    description: "folder of this node's sockets, endpoints and logs",
    parse: parseAbsolutePath,
    fallback: DEFAULT_STATE_DIR,
    placeholder: 'DIR',
  }),
  'bpf-dir': option({
    description: "folder of this node's pinned maps and links, on a bpffs",
    parse: parseAbsolutePath,
    fallback: DEFAULT_BPF_DIR,
    placeholder: 'DIR',
  }),
  store: option({
    description:
      'where nodes, identities and addresses are shared: local:/path/to/store.db (default: in the state folder)',
    parse: parseOptional(parseStore),
    fallback: undefined as string | undefined,
    placeholder: 'KIND:PLACE',
  }),
  datapath: option({
    description: 'bpf enforces policy in the kernel; none enforces nothing and says so',
    parse: parseOneOf('bpf', 'none'),
    fallback: 'bpf' as 'bpf' | 'none',
    placeholder: 'bpf|none',
  }),
  'conntrack-entries': option({
    description:
      'flows of one family that conntrack has room for, a power of two; fixed while maps are pinned (default: 0.125 % of memory, 16384 to 524288)',
    parse: parseOptional(parseConntrackEntries),
    fallback: undefined as number | undefined,
    placeholder: 'NUMBER',
  }),
  'ipv4-node': option({
    description: "this node's IPv4 address (default: the first global one of its devices)",
    parse: parseOptional(parseAddress(4)),
    fallback: undefined as string | undefined,
    placeholder: 'ADDRESS',
  }),
  'ipv6-node': option({
    description: "this node's IPv6 address (default: the first global one of its devices)",
    parse: parseOptional(parseAddress(6)),
    fallback: undefined as string | undefined,
    placeholder: 'ADDRESS',
  }),
  'ipv4-range': option({
    description: "range of this node's endpoints; empty turns IPv4 off",
    parse: parseOptional(parseRange(4)),
    fallback: parseCidr('10.0.0.0/24') as Cidr | undefined,
    placeholder: 'CIDR',
  }),
  'ipv6-range': option({
    description: "range of this node's endpoints; empty turns IPv6 off",
    parse: parseOptional(parseRange(6)),
    fallback: undefined as Cidr | undefined,
    placeholder: 'CIDR',
  }),
  'cluster-cidrs': option({
    description: "ranges of all nodes' endpoints (default: this node's ranges)",
    parse: parseList(parseCidr),
    fallback: [] as readonly Cidr[],
    placeholder: 'CIDR,...',
  }),
  devices: option({
    description: 'devices to other nodes (default: the one with the default route)',
    parse: parseList((text) => text),
    fallback: [] as readonly string[],
    placeholder: 'NAME,...',
  }),
  labels: option({
    description:
      'which labels make identities: [source:][!]REGEX between blanks or commas, added to the defaults; ! leaves out',
    parse: LabelFilter.parse,
    fallback: LabelFilter.parse(''),
    format: ({ text }) => text,
    placeholder: 'PATTERN,...',
  }),
  'enable-policy': option({
    description: 'default enforces where a rule selects an endpoint, always everywhere, never nowhere',
    parse: parseOneOf('default', 'always', 'never'),
    fallback: 'default' as 'default' | 'always' | 'never',
    placeholder: 'MODE',
  }),
  'allow-localhost': option({
    description:
      "whether the node's own processes reach its endpoints whatever the rules say, or as rules say",
    parse: parseOneOf('always', 'policy'),
    fallback: 'always' as 'always' | 'policy',
    placeholder: 'always|policy',
  }),
  'host-policy-audit-mode': option({
    description:
      'whether what the policy of this node itself (nodeSelector) refuses only is told, and passes',
    parse: parseBoolean,
    fallback: false,
    placeholder: undefined,
  }),
  'kube-apiserver-addresses': option({
    description:
      "addresses of the cluster's API server, beside those of the service default/kubernetes that is imported",
    parse: parseList(parseAnyAddress),
    fallback: [] as readonly string[],
    placeholder: 'ADDRESS,...',
  }),
  'enable-node-selector-labels': option({
    description: 'whether nodes have identities by their labels, for fromNodes and toNodes',
    parse: parseBoolean,
    fallback: false,
    placeholder: undefined,
  }),
  'node-labels': option({
    description:
      'which labels of nodes count for their identities: [!]REGEX between blanks or commas; ! leaves out (default: all)',
    parse: LabelFilter.parseForNodes,
    fallback: LabelFilter.parseForNodes(''),
    format: ({ text }) => text,
    placeholder: 'PATTERN,...',
  }),
  'node-own-labels': option({
    description: 'labels of this node, as of its object in Kubernetes',
    parse: parseList(parseNodeLabel),
    fallback: [] as readonly (readonly [key: string, value: string])[],
    format: (labels) => labels.map(([key, value]) => `${key}=${value}`).join(','),
    placeholder: 'KEY=VALUE,...',
  }),
  'tofqdns-min-ttl': option({
    description: 'shortest time, in seconds, that an address of a name in toFQDNs is believed',
    parse: parseInteger(0, 7 * 24 * 3600),
    fallback: FQDN_DEFAULTS.minTtlSeconds,
    placeholder: 'SECONDS',
  }),
  'tofqdns-endpoint-max-ip-per-hostname': option({
    description: 'addresses that a name may have for one endpoint; those looked up longest ago go first',
    parse: parseInteger(1, 100_000),
    fallback: FQDN_DEFAULTS.addressesPerName,
    placeholder: 'NUMBER',
  }),
  'tofqdns-max-deferred-connection-deletes': option({
    description: 'addresses of one endpoint that are kept past their time for the sake of connections',
    parse: parseInteger(0, 1_000_000),
    fallback: FQDN_DEFAULTS.retiredPerEndpoint,
    placeholder: 'NUMBER',
  }),
  'tofqdns-idle-connection-grace-period': option({
    description: 'how long an address is kept past its time for a client that has yet to connect',
    parse: parseMillisecondsOrNone,
    fallback: FQDN_DEFAULTS.graceSeconds * 1000,
    format: formatMilliseconds,
    placeholder: 'DURATION',
  }),
  ...HEALTH_OPTIONS,
  'metrics-address': option({
    description:
      "where the agent's metrics are served; without an address at the node's own (0.0.0.0 or [::]: at every one); empty for nowhere",
    parse: parseOptional(parseListenAddress),
    fallback: { host: undefined, port: 9962 } as ListenAddress | undefined,
    placeholder: 'ADDRESS:PORT',
  }),
  'allowed-hosts': option({
    description:
      "names by which metrics, liveness and dashboard of this node may be asked, besides addresses, localhost and the node's name",
    parse: parseList(parseHostName),
    fallback: [] as readonly string[],
    placeholder: 'NAME,...',
  }),
  'liveness-address': option({
    description: 'where GET /healthz answers for liveness probes; empty for nowhere',
    parse: parseOptional(parseListenAddress),
    fallback: { host: '127.0.0.1', port: 9879 } as ListenAddress | undefined,
    placeholder: 'ADDRESS:PORT',
  }),
  'log-level': option({
    description: 'least level of log lines',
    parse: parseOneOf(...LOG_LEVELS),
    fallback: 'info' as (typeof LOG_LEVELS)[number],
    placeholder: LOG_LEVELS.join('|'),
  }),
} as const;

export type AgentOptions = OptionValues<typeof AGENT_OPTIONS>;

/** What the options say of the names of `toFQDNs`. */
export function fqdnOptions(options: AgentOptions): Partial<FqdnOptions> {
  return {
    minTtlSeconds: options['tofqdns-min-ttl'],
    addressesPerName: options['tofqdns-endpoint-max-ip-per-hostname'],
    retiredPerEndpoint: options['tofqdns-max-deferred-connection-deletes'],
    graceSeconds: options['tofqdns-idle-connection-grace-period'] / 1000,
  };
}

/** The options as they are without any setting. */
export function defaultAgentOptions(): AgentOptions {
  return Object.fromEntries(
    Object.entries(AGENT_OPTIONS).map(([name, { fallback }]) => [name, fallback]),
  ) as AgentOptions;
}
