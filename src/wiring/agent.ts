import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from '../agent/agent.ts';
import type { EventSink } from '../agent/agent-deps.ts';
import { type CleanupStep, cleanUpNode } from '../agent/cleanup.ts';
import {
  createHealthProcess,
  HealthManager,
  type HealthManagerOptions,
  healthNetns,
} from '../agent/health-manager.ts';
import { noHealth } from '../agent/health-part.ts';
import { IpNetworkSetup } from '../agent/ip-network-setup.ts';
import { noNetworkSetup } from '../agent/network-setup.ts';
import { listenAddressOf, type NodeFacts, nodeFacts } from '../agent/node-facts.ts';
import type { AgentOptions } from '../agent/options.ts';
import { findSetpriv } from '../agent/proxy-launch.ts';
import { createProxyProcess, ProxyManager } from '../agent/proxy-manager.ts';
import { noProxy } from '../agent/proxy-part.ts';
import { programBuild, programVersion } from '../agent/version.ts';
import { packageRoot } from '../base/assets.ts';
import type { Origin } from '../base/config.ts';
import { NotPermittedError } from '../base/errors.ts';
import { missingForDatapath } from '../base/kernel-features.ts';
import { type Logger, silentLog } from '../base/log.ts';
import { type NodePaths, nodePaths } from '../base/paths.ts';
import { loadSockets } from '../base/sockets/index.ts';
import { type ConntrackFlow, createBpfDatapath, createNoDatapath, openMapReader } from '../datapath/index.ts';
import { MonitorHub } from '../monitor/index.ts';
import { createStore } from '../store/index.ts';

export interface CreateAgentOptions {
  readonly options: AgentOptions;
  readonly origins?: Readonly<Record<string, Origin>> | undefined;
  readonly log: Logger;
}

const PROGRAM = join(packageRoot(), 'bin', 'ciliate');

function eventSink(paths: NodePaths): EventSink {
  const hub = new MonitorHub({ socketPath: paths.eventsSocket });
  return {
    start: () => hub.start(),
    stop: () => hub.stop(),
    publish: (events) => hub.publish(events),
    heard: () => hub.listenerCount > 0,
    lost: () => hub.stats().lost.listener,
  };
}

function healthOptions(options: AgentOptions, node: NodeFacts, paths: NodePaths): HealthManagerOptions {
  const metrics = options['health-metrics-address'];
  const dashboard = options['health-dashboard-address'];
  return {
    paths,
    nodeName: options['node-name'],
    nodeIps: [node.ipv4, node.ipv6].filter((ip) => ip !== undefined),
    devices: node.devices,
    intervalMs: options['health-interval'],
    policyPaths: options['health-policy-paths'],
    port: options['health-port'],
    allowedHosts: options['allowed-hosts'],
    metricsAddress: metrics && listenAddressOf(metrics, node),
    metricsNames: options['health-metrics-names'],
    metricsPeersMax: options['health-metrics-peers-max'],
    probes: {
      dscp: options['health-dscp'],
      packetsPerSecond: options['health-packets-per-second'],
      cpuPercent: options['health-cpu-percent'],
    },
    dashboardAddress: dashboard && listenAddressOf(dashboard, node),
    netns: options['health-netns'],
    withEndpoint: options.datapath === 'bpf',
    command: [PROGRAM, 'health-agent'],
  };
}

/** Every flow of a node's conntrack maps. */
function* conntrackFlows(bpfDir: string): Generator<ConntrackFlow> {
  const reader = openMapReader(bpfDir);
  try {
    for (const family of [4, 6] as const) yield* reader.conntrack(family);
  } finally {
    reader.close();
  }
}

/** Before anything else fails for want of it, in words that do not name the cause. */
function checkPrivilege(): void {
  const missing = missingForDatapath();
  if (missing.length === 0) return;
  throw new NotPermittedError(`the BPF datapath needs ${missing.join(', ')}`, {
    code: 'DATAPATH_NOT_PERMITTED',
    hint: 'run the agent as root of the machine, or with --datapath none, which enforces nothing',
  });
}

/**
 * Builds the agent of one node out of its parts, for the network namespace of this process.
 * @throws UsageError when an option does not fit this machine, NotPermittedError when the datapath cannot be driven here
 */
export function createAgent({ options, origins, log }: CreateAgentOptions): Agent {
  const enforcing = options.datapath === 'bpf';
  if (enforcing) checkPrivilege();
  const paths = nodePaths(options['state-dir'], options['bpf-dir']);
  const storeSpec = options.store ?? `local:${paths.stateDir}/store.db`;
  const node = nodeFacts(options);
  const network = new IpNetworkSetup({
    devices: node.devices,
    ipv4Range: options['ipv4-range'],
    ipv6Range: options['ipv6-range'],
  });
  const conntrackEntries = options['conntrack-entries'];
  const datapath = enforcing
    ? createBpfDatapath({ bpfDir: paths.bpfDir, conntrackEntries })
    : createNoDatapath();
  return new Agent({
    options,
    origins,
    paths,
    node,
    version: programVersion(),
    storeSpec,
    store: createStore(storeSpec, {
      log: { info: (message) => log.info({}, message), warn: (message) => log.warn({}, message) },
    }),
    datapath,
    flows: () => (enforcing ? conntrackFlows(paths.bpfDir) : []),
    network: enforcing ? network : noNetworkSetup,
    events: eventSink(paths),
    health: (context) =>
      options.health
        ? new HealthManager(healthOptions(options, node, paths), { ...context, sockets: loadSockets(), log })
        : noHealth,
    proxy: (context) =>
      enforcing
        ? new ProxyManager(
            { paths, command: [PROGRAM, 'proxy'], setpriv: findSetpriv(), build: programBuild() },
            { ...context, sockets: loadSockets(), datapath, log },
          )
        : noProxy,
    log,
  });
}

export interface CleanUpOptions {
  readonly nodeName: string;
  readonly stateDir: string;
  readonly bpfDir: string;
  /** Default: by the state folder, as the agent names it. */
  readonly healthNetns?: string | undefined;
  /** A store that other nodes share; undefined: the one in the state folder, which is removed. */
  readonly storeSpec?: string | undefined;
}

/** Removes what an agent made; in the network namespace that it ran in. @throws see `cleanUpNode` */
export function cleanUp(options: CleanUpOptions): Promise<readonly CleanupStep[]> {
  const paths = nodePaths(options.stateDir, options.bpfDir);
  const { storeSpec } = options;
  return cleanUpNode(
    { paths, nodeName: options.nodeName, healthNetns: options.healthNetns ?? healthNetns(options.stateDir) },
    {
      datapath: existsSync(paths.bpfDir) ? createBpfDatapath({ bpfDir: paths.bpfDir }) : createNoDatapath(),
      network: new IpNetworkSetup({ devices: [], ipv4Range: undefined, ipv6Range: undefined }),
      healthProcess: createHealthProcess({ command: [], paths }, silentLog, () => undefined),
      proxyProcess: createProxyProcess({ command: [], paths }, silentLog, () => undefined),
      store: storeSpec === undefined ? undefined : createStore(storeSpec, { log: QUIET }),
    },
  );
}

const QUIET = { info: () => undefined, warn: () => undefined };
