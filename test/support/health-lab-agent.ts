import { closeSync, openSync } from 'node:fs';
import { createProbeEngine, type ProbeEngine } from '../../probes/engine/index.ts';
import { createHttpProbe, HEALTH_PORT } from '../../probes/http/index.ts';
import { createResponder, type ResponderListen } from '../../probes/responder/index.ts';
import type { Handshakes, Probe } from '../../probes/types.ts';
import type { NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import { dialFrom, loadSockets } from '../../src/base/sockets/index.ts';
import { WaypointTable } from '../../src/datapath/index.ts';
import {
  askPeer,
  createHealth,
  createHttpTransport,
  EngineProber,
  type Health,
  LossFinder,
  MtuWatch,
  RequestProber,
  rowRoutes,
  systemClock,
  waypointRoute,
} from '../../src/health/index.ts';
import { healthEndpointPorts } from '../../src/model/health-ports.ts';
import { FakeNodes } from '../health/fakes.ts';

/** Requests of all nodes in a second: each costs client and server, and both are in this process. */
const HTTP_PER_SECOND = 32;
/** Those of a node that also asks for what the policies of others allow and deny. */
const HTTP_PER_SECOND_ENDPOINT = 2;
/** All nodes measure the sizes of packets in this process: so many paths a second together. */
const SIZES_PER_SECOND = 64;
/** So it waits long for them, and for rows, before it thinks that anything is wrong. */
const [HTTP_SOFT_MS, HTTP_TIMEOUT_MS] = [3000, 6000];
/** Where silence is what is wanted it is waited for less. */
const SILENCE_MS = 1000;
const ROWS_TIMEOUT_MS = 10_000;
/** From one echo of a node to another to the next: 2,000 a second in all, by a thread a node. */
const PERIOD_MS = 2000;
const PATHS_MAX = 2048;

export interface LabAgentOptions {
  readonly name: string;
  /** The cluster, this node among it. */
  readonly nodes: readonly NodeElement[];
  /** Path of the node's namespace. */
  readonly netns: string;
  /** Of the node itself. */
  readonly address: string;
  /** Where the node's datapath pins its maps; it need not have one. */
  readonly bpfDir: string;
  /** Path of its health endpoint's namespace, and the address there: of a node with a datapath. */
  readonly endpoint?: { readonly netns: string; readonly address: string } | undefined;
}

/** A running health agent as objects, wired as `ciliate health` is, with its sockets in the namespaces of its node. */
export interface LabAgent {
  readonly health: Health;
  stop(): Promise<void>;
}

export async function startLabAgent(options: LabAgentOptions): Promise<LabAgent> {
  const { name, nodes, netns, bpfDir, endpoint } = options;
  const netnsFd = openSync(netns, 'r');
  const engine = makeEngine(options, netnsFd);
  const datapath = new WaypointTable(bpfDir);
  const connect = (address: string, port: number): ReturnType<typeof dialFrom> =>
    dialFrom(loadSockets(), { from: undefined, to: { address, port }, mark: 0, netns });
  const losses = new LossFinder({
    engine,
    datapath,
    ask: (address, path) => askPeer({ port: HEALTH_PORT, connect }, address, path),
    nowNs: () => Number(process.hrtime.bigint()),
  });
  const origins = { host: 0 };
  const httpPerSecond = endpoint === undefined ? HTTP_PER_SECOND / nodes.length : HTTP_PER_SECOND_ENDPOINT;
  const health: Health = createHealth(
    { interval: { kind: 'fixed', ms: PERIOD_MS }, plan: { httpPerSecond } },
    {
      nodes: new FakeNodes(name, nodes),
      probers: [new EngineProber(engine, origins, losses), makeRequests(options, engine)],
      clock: systemClock,
      log: silentLog,
      rows: createHttpTransport({ port: HEALTH_PORT, connect, timeoutMs: ROWS_TIMEOUT_MS }),
      readDatapath: (path) => datapath.read(path),
    },
  );
  const pauseMs = (1000 * nodes.length) / SIZES_PER_SECOND;
  const trackers = (): ReturnType<Health['trackers']> => health.trackers();
  const mtu = new MtuWatch({ engine, origins, clock: systemClock, trackers, pauseMs });
  const { rows } = health;
  const routes = [...rowRoutes(rows), waypointRoute(losses, (address) => rows.isNode(address))];
  const responder = createResponder({ listen: listeningOf(options).map(toListen), routes });
  await responder.start();
  await health.start();
  mtu.start();
  return {
    health,
    stop: async () => {
      await mtu.stop();
      await health.stop();
      await responder.stop();
      datapath.close();
      closeSync(netnsFd);
    },
  };
}

/** A node with a datapath has programs on its device too, which answer echoes whatever its stack does. */
function makeEngine({ netns, endpoint, nodes, address }: LabAgentOptions, netnsFd: number): ProbeEngine {
  if (endpoint === undefined)
    return createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: PATHS_MAX });
  const devices = [loadSockets().interfaceIndex('eth0', netns)];
  const engine = createProbeEngine({ origins: [{ netnsFd, devices }], mode: 'bpf', pathsMax: PATHS_MAX });
  const others = nodes.flatMap(({ 'primary-address': { ipv4 } = {} }) => ipv4?.ip ?? []);
  engine.setPeers(
    others.filter((other) => other !== address),
    [address],
  );
  return engine;
}

/** From the host to agents, and from the endpoint to the ports that the policies of others allow and deny. */
function makeRequests({ netns, endpoint }: LabAgentOptions, handshakes: Handshakes): RequestProber {
  const host = createHttpProbe({ netns, timeoutMs: HTTP_TIMEOUT_MS, handshakes });
  const inside = (port: number, timeoutMs: number): Probe =>
    createHttpProbe({ netns: endpoint?.netns, timeoutMs, port });
  const { allowed, denied } = healthEndpointPorts(HEALTH_PORT);
  return new RequestProber({
    responder: 'http',
    probes: { host },
    ...(endpoint && {
      classes: {
        'policy-allowed': inside(allowed, HTTP_TIMEOUT_MS),
        'policy-denied': inside(denied, SILENCE_MS),
      },
    }),
    clock: systemClock,
    random: Math.random,
    softMs: HTTP_SOFT_MS,
  });
}

/** Where a node's health agent listens. */
interface Listening {
  readonly netns: string;
  readonly address: string;
  readonly port: number;
}

function listeningOf({ netns, address, endpoint }: LabAgentOptions): readonly Listening[] {
  const own = { netns, address, port: HEALTH_PORT };
  if (endpoint === undefined) return [own];
  const ports = Object.values(healthEndpointPorts(HEALTH_PORT));
  return [own, ...ports.map((port) => ({ ...endpoint, port }))];
}

function listenOn({ netns, address, port }: Listening): number {
  return loadSockets().openSocket({
    family: 4,
    type: 'stream',
    netns,
    bind: { address, port },
    listen: 128,
  });
}

function toListen(where: Listening): ResponderListen {
  return { kind: 'fd', fd: listenOn(where) };
}

/** What others see of a health agent that hangs: the kernel takes their connections, and nobody says anything on them. */
export function startHungAgent(options: LabAgentOptions): Pick<LabAgent, 'stop'> {
  const sockets = listeningOf(options).map(listenOn);
  return {
    stop: async () => {
      for (const fd of sockets.splice(0)) closeSync(fd);
    },
  };
}
