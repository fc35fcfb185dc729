import { closeSync, openSync } from 'node:fs';
import { createProbeEngine } from '../../probes/engine/index.ts';
import { createHttpProbe, HEALTH_PORT } from '../../probes/http/index.ts';
import { createResponder, type ResponderListen } from '../../probes/responder/index.ts';
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
import { FakeNodes } from '../health/fakes.ts';

/** Each request costs client and server, and both are in this process: less where there are many nodes. */
const HTTP_PER_SECOND = { many: 0.5, few: 1 };
/** So it waits long for it, before it thinks that anything is wrong. */
const [HTTP_SOFT_MS, HTTP_TIMEOUT_MS] = [2500, 5000];
const PATHS_MAX = 2048;

export interface LabAgentOptions {
  readonly name: string;
  /** The cluster, this node among it. */
  readonly nodes: readonly NodeElement[];
  /** Path of the node's namespace. */
  readonly netns: string;
  /** Where it answers: its own address, and that of its endpoint, each in a namespace. */
  readonly listen: readonly { readonly netns: string; readonly address: string }[];
  /** Where the node's datapath pins its maps; it need not have one. */
  readonly bpfDir: string;
  /** Whether it finds out where probes are lost, and what size of packets every path takes. */
  readonly findsCauses: boolean;
}

/** A running health agent as objects, wired as `ciliate health` is, with its sockets in the namespaces of its node. */
export interface LabAgent {
  readonly health: Health;
  stop(): Promise<void>;
}

export async function startLabAgent(options: LabAgentOptions): Promise<LabAgent> {
  const { name, nodes, netns, bpfDir, findsCauses } = options;
  const netnsFd = openSync(netns, 'r');
  const engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: PATHS_MAX });
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
  const requests = new RequestProber({
    responder: 'http',
    probes: { host: createHttpProbe({ netns, timeoutMs: HTTP_TIMEOUT_MS }) },
    clock: systemClock,
    random: Math.random,
    softMs: HTTP_SOFT_MS,
  });
  const health: Health = createHealth(
    {
      interval: { kind: 'fixed', ms: 1000 },
      plan: { httpPerSecond: HTTP_PER_SECOND[findsCauses ? 'few' : 'many'] },
    },
    {
      nodes: new FakeNodes(name, nodes),
      probers: [new EngineProber(engine, origins, findsCauses ? losses : undefined), requests],
      clock: systemClock,
      log: silentLog,
      rows: createHttpTransport({ port: HEALTH_PORT, connect }),
    },
  );
  const mtu = new MtuWatch({ engine, origins, clock: systemClock, trackers: () => health.trackers() });
  const { rows } = health;
  const routes = [...rowRoutes(rows), waypointRoute(losses, (address) => rows.isNode(address))];
  const responder = createResponder({ listen: options.listen.map(listenOn), routes });
  await responder.start();
  await health.start();
  if (findsCauses) mtu.start();
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

function listenOn({ netns, address }: { readonly netns: string; readonly address: string }): ResponderListen {
  const bind = { address, port: HEALTH_PORT };
  return {
    kind: 'fd',
    fd: loadSockets().openSocket({ family: 4, type: 'stream', netns, bind, listen: 128 }),
  };
}
