import { closeSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type ProbeEngine, Routes } from '../../probes/engine/index.ts';
import { HEALTH_PORT } from '../../probes/http/index.ts';
import { createResponder, type ResponderListen } from '../../probes/responder/index.ts';
import type { ApiAddress } from '../api/address.ts';
import { AgentClient } from '../api/client.ts';
import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import { WaypointTable } from '../datapath/index.ts';
import {
  askPeer,
  createAgentNodes,
  createHealth,
  createHealthMetrics,
  createHealthReader,
  createHttpTransport,
  createPeerPaths,
  createStaticNodes,
  Dashboard,
  EngineProber,
  type Health,
  type HealthMetrics,
  ListedAddresses,
  LossFinder,
  type LossFinderDeps,
  loadDashboardAssets,
  MtuWatch,
  type NodeProvider,
  ProbeDevices,
  type ProbeInterval,
  pathRoute,
  readNodeList,
  rowRoutes,
  systemClock,
  waypointRoute,
} from '../health/index.ts';
import type { HealthMetricsNames } from '../model/health-metrics-names.ts';
import { keepPidFile, Releases } from './health-parts.ts';
import { type HealthProbeOptions, makeEngine, makeRequests, openNetns } from './health-probes.ts';
import { type HealthServersOptions, serveHealth } from './health-servers.ts';

export interface HealthProcessOptions extends HealthProbeOptions, HealthServersOptions {
  readonly paths: NodePaths;
  readonly nodeName?: string | undefined;
  /** The agent whose node list is followed; not used with `nodesFile`. */
  readonly agent: ApiAddress;
  /** Static node list: no agent. */
  readonly nodesFile?: string | undefined;
  readonly interval: ProbeInterval;
  /** Where peers' probes are answered. */
  readonly listen: readonly ResponderListen[];
  readonly metricsNames?: HealthMetricsNames | undefined;
  /** Peers with series of their own, with the names of Cilium 1.16. */
  readonly metricsPeersMax?: number | undefined;
  /** Names of devices that probes of others come in by, besides those that ours leave by. */
  readonly devices?: readonly string[] | undefined;
  readonly log: Logger;
}

/** A running health agent. */
export interface HealthProcess {
  readonly health: Health;
  /** Where the responder and the metrics listen, for the log. */
  readonly addresses: readonly string[];
  /** Stops everything and removes socket and pid file. May be called twice. */
  stop(): Promise<void>;
}

const AGENT_TIMEOUT_MS = 5000;
/** Some 30,000 nodes: an agent that lies must not take the memory of a process that stays. */
const AGENT_ANSWER_BYTES = 16 * 1024 * 1024;

function ownAddresses(): ReadonlySet<string> {
  return new Set(
    Object.values(networkInterfaces())
      .flat()
      .map((each) => each?.address ?? ''),
  );
}

function makeNodes(options: HealthProcessOptions, agent: AgentClient): NodeProvider {
  const { nodesFile, nodeName, log } = options;
  const deps = { clock: systemClock, log };
  if (nodesFile !== undefined) {
    return createStaticNodes({ file: nodesFile, self: nodeName }, { ...deps, ownAddresses });
  }
  return createAgentNodes(
    { self: nodeName },
    { ...deps, nodeChanges: (clientId) => agent.nodeChanges(clientId), healthz: () => agent.healthz() },
  );
}

interface Parts {
  readonly health: Health;
  readonly engine: ProbeEngine;
  readonly agent: AgentClient;
  readonly devices: ProbeDevices;
  readonly listed: ListedAddresses;
  readonly losses: LossFinder;
  readonly datapath: WaypointTable;
  readonly mtu: MtuWatch;
}

function makeDevices(
  { devices = [], sources = [], log }: HealthProcessOptions,
  engine: ProbeEngine,
  routes: Routes,
): ProbeDevices {
  return new ProbeDevices({ names: devices, sources }, { engine, routes, clock: systemClock, log });
}

function makeLosses(
  { port = HEALTH_PORT, sources }: HealthProcessOptions,
  parts: Pick<LossFinderDeps, 'engine' | 'datapath' | 'routes'>,
): LossFinder {
  return new LossFinder({
    ...parts,
    ask: (address, path) => askPeer({ port, sources }, address, path),
    nowNs: () => Number(process.hrtime.bigint()),
  });
}

function makeParts(options: HealthProcessOptions, endpointFd: number | undefined): Parts {
  const { log } = options;
  const agent = new AgentClient({
    address: options.agent,
    timeoutMs: AGENT_TIMEOUT_MS,
    maxAnswerBytes: AGENT_ANSWER_BYTES,
  });
  const engine = makeEngine(options, endpointFd);
  const routes = new Routes();
  const devices = makeDevices(options, engine, routes);
  const listed = new ListedAddresses();
  const datapath = new WaypointTable(options.paths.bpfDir);
  const losses = makeLosses(options, { engine, datapath, routes });
  const origins = { host: 0, ...(endpointFd === undefined ? {} : { endpoint: 1 }) };
  const health: Health = createHealth(
    { interval: options.interval },
    {
      nodes: makeNodes(options, agent),
      probers: [new EngineProber(engine, origins, losses), makeRequests(options, engine)],
      clock: systemClock,
      log,
      onNodes: [
        (view) => void listed.follow(view),
        (view) => void devices.followPeers(view),
        (view) => devices.followRoutes(view),
      ],
      rows: createHttpTransport({ port: options.port ?? HEALTH_PORT, sources: options.sources }),
      readDatapath: (path) => datapath.read(path),
    },
  );
  const mtu = new MtuWatch({ engine, origins, clock: systemClock, trackers: () => health.trackers() });
  return { health, engine, agent, devices, listed, losses, datapath, mtu };
}

function makeMetrics(
  { metricsNames: names, metricsPeersMax: peersMax, packetsPerSecond, cpuPercent }: HealthProcessOptions,
  { health, engine }: Parts,
  dashboard: Dashboard,
): HealthMetrics {
  return createHealthMetrics(
    {
      health: () => health,
      engine: () => engine.self(),
      diagnosis: () => health.diagnosis(),
      matrix: () => health.matrix(),
      followersCut: () => dashboard.followersCut,
      clock: systemClock,
    },
    { names, peersMax, packetsPerSecond, cpuPercent },
  );
}

/** @returns where it listens on TCP, for the log */
function serve(options: HealthProcessOptions, parts: Parts, releases: Releases): Promise<string[]> {
  const { health, agent } = parts;
  const started = performance.now();
  const read = {
    health,
    askPeer: createPeerPaths({ port: options.port ?? HEALTH_PORT, sources: options.sources }),
    wallMs: () => systemClock.wallMs(),
    uptimeMs: () => performance.now() - started,
  };
  const reader = createHealthReader(read);
  const dashboard = new Dashboard({ reader, clock: systemClock, assets: loadDashboardAssets });
  const deps = {
    ...read,
    reader,
    dashboard,
    metrics: makeMetrics(options, parts, dashboard),
    agentStatus: options.nodesFile === undefined ? () => agent.healthz() : undefined,
    log: options.log,
  };
  return serveHealth(options.paths.healthSocket, options, deps, releases);
}

/** Says where others will not find this node's responder. */
function tellOddListening({ nodesFile, listen, port = HEALTH_PORT, log }: HealthProcessOptions): void {
  if (nodesFile !== undefined && listen.length === 0)
    log.warn(
      {},
      "without --listen nobody's requests are answered: others take this node's health agent for dead",
    );
  const ports = listen.map((one) => (one.kind === 'address' ? one.port : port));
  if (listen.length > 0 && !ports.includes(port))
    log.warn(
      { listen: ports, port },
      'nodes are asked at another port than --listen says: --port is for all of them',
    );
}

/**
 * Builds the health agent from its parts and starts it. What was begun is released when a later part fails.
 * @throws SystemError, NotPermittedError, UsageError of the part that failed
 */
export async function startHealthProcess(options: HealthProcessOptions): Promise<HealthProcess> {
  const { paths, log } = options;
  // Read once more at the start of its follower: what is wrong with it is said before anything is opened or made.
  if (options.nodesFile !== undefined) readNodeList(options.nodesFile);
  const releases = new Releases();
  const endpointFd = openNetns(options.endpointNetns);
  if (endpointFd !== undefined) releases.push(() => closeSync(endpointFd));
  const parts = makeParts(options, endpointFd);
  const { rows } = parts.health;
  const routes = [
    ...rowRoutes(rows),
    pathRoute(parts.health),
    waypointRoute(parts.losses, (address) => rows.isNode(address)),
  ];
  const responder = createResponder({
    listen: options.listen,
    routes,
    isExpected: (address) => parts.listed.has(address),
  });
  try {
    await responder.start();
    releases.push(() => responder.stop());
    const served = await serve(options, parts, releases);
    releases.push(keepPidFile(paths.pidDir, 'health.pid', log));
    releases.push(() => parts.datapath.close());
    releases.push(() => parts.health.stop());
    releases.push(() => parts.devices.stop());
    parts.devices.start();
    await parts.health.start();
    tellOddListening(options);
    releases.push(() => parts.mtu.stop());
    parts.mtu.start();
    const addresses = [...responder.addresses(), ...served];
    return { health: parts.health, addresses, stop: () => releases.run() };
  } catch (error) {
    await releases.run();
    throw error;
  }
}
