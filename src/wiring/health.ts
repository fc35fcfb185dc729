import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { createHttpProbe, HEALTH_PORT } from '../../probes/http/index.ts';
import { createIcmpProbe } from '../../probes/icmp/index.ts';
import { createResponder, type Responder, type ResponderListen } from '../../probes/responder/index.ts';
import { listenOnUnixSocket } from '../agent/api/unix-socket.ts';
import type { ApiAddress } from '../api/address.ts';
import { AgentClient } from '../api/client.ts';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { errorText, SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ListenAddress } from '../base/option-parsers.ts';
import type { NodePaths } from '../base/paths.ts';
import {
  closeAppServer,
  createAgentNodes,
  createAppServer,
  createHealth,
  createHealthApp,
  createHealthMetrics,
  createMetricsApp,
  createStaticNodes,
  type Health,
  type NodeProvider,
  type ProbeInterval,
  systemClock,
} from '../health/index.ts';

export interface HealthProcessOptions {
  readonly paths: NodePaths;
  readonly nodeName?: string | undefined;
  /** The agent whose node list is followed; not used with `nodesFile`. */
  readonly agent: ApiAddress;
  /** Static node list: no agent. */
  readonly nodesFile?: string | undefined;
  readonly interval: ProbeInterval;
  readonly timeoutMs?: number | undefined;
  /** Host order, of the peers' responders. */
  readonly port?: number | undefined;
  /** Where peers' probes are answered. */
  readonly listen: readonly ResponderListen[];
  /** Undefined: metrics on the unix socket only. */
  readonly metricsAddress?: ListenAddress | undefined;
  readonly icmpMode?: 'auto' | 'raw' | 'datagram' | undefined;
  /** Addresses that probes leave from, at most one a family. */
  readonly sources?: readonly string[] | undefined;
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
const GATHER_MS = 10;

function makeNodes(options: HealthProcessOptions, agent: AgentClient): NodeProvider {
  const { nodesFile, nodeName, log } = options;
  const deps = { clock: systemClock, log };
  if (nodesFile !== undefined) return createStaticNodes({ file: nodesFile, self: nodeName }, deps);
  return createAgentNodes(
    { self: nodeName },
    { ...deps, nodeChanges: (clientId) => agent.nodeChanges(clientId) },
  );
}

async function listenOnTcp(server: Server, address: ListenAddress): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const where = `${address.host ?? '*'}:${address.port}`;
      reject(new SystemError(`cannot serve metrics on ${where}`, { code: 'METRICS_LISTEN', cause }));
    });
    server.listen(
      { port: address.port, ...(address.host === undefined ? {} : { host: address.host }) },
      resolve,
    );
  });
  const bound = server.address();
  return bound === null || typeof bound === 'string' ? '' : `metrics ${bound.address} port ${bound.port}`;
}

/** Removes the pid file if it is still ours. */
function removePidFile(file: string, log: Logger): void {
  try {
    if (readFileSync(file, 'utf8').trim() === String(process.pid)) rmSync(file, { force: true });
  } catch (error) {
    log.warn({ file, reason: errorText(error) }, 'cannot remove the pid file');
  }
}

/**
 * Builds the health agent from its parts and starts it. What was begun is released when a later part fails.
 * @throws SystemError, NotPermittedError, UsageError of the part that failed
 */
export async function startHealthProcess(options: HealthProcessOptions): Promise<HealthProcess> {
  const { paths, log, timeoutMs, port = HEALTH_PORT, sources } = options;
  const started = performance.now();
  const releases: (() => Promise<void> | void)[] = [];
  let stopping: Promise<void> | undefined;
  const release = async (): Promise<void> => {
    for (const act of releases.reverse()) await act();
  };
  const stop = (): Promise<void> => {
    stopping ??= release();
    return stopping;
  };
  try {
    const agent = new AgentClient({ address: options.agent, timeoutMs: AGENT_TIMEOUT_MS });
    const icmp = createIcmpProbe({ timeoutMs, mode: options.icmpMode, gatherMs: GATHER_MS, sources });
    const holder: { health?: Health } = {};
    const metrics = createHealthMetrics({
      health: () => holder.health,
      icmpCounters: () => icmp.counters(),
      wallMs: () => systemClock.wallMs(),
    });
    const health = createHealth(
      { interval: options.interval },
      {
        nodes: makeNodes(options, agent),
        probes: { icmp, http: createHttpProbe({ timeoutMs, port, sources }) },
        clock: systemClock,
        random: Math.random,
        log,
        onProbe: metrics.observe,
      },
    );
    holder.health = health;

    const responder: Responder = createResponder({ listen: options.listen });
    await responder.start();
    releases.push(() => responder.stop());

    const app = createHealthApp({
      health,
      metrics,
      agentStatus: options.nodesFile === undefined ? () => agent.healthz() : undefined,
      log,
      uptimeMs: () => performance.now() - started,
    });
    const server = createAppServer(app);
    await listenOnUnixSocket(server, { path: paths.healthSocket });
    releases.push(() => closeAppServer(server));

    const addresses = [...responder.addresses()];
    if (options.metricsAddress !== undefined) {
      const metricsServer = createAppServer(createMetricsApp(metrics));
      addresses.push(await listenOnTcp(metricsServer, options.metricsAddress));
      releases.push(() => closeAppServer(metricsServer));
    }

    mkdirSync(paths.pidDir, { recursive: true });
    const pidFile = join(paths.pidDir, 'health.pid');
    writeFileAtomically(pidFile, `${process.pid}\n`);
    releases.push(() => removePidFile(pidFile, log));

    releases.push(() => health.stop());
    await health.start();
    return { health, addresses, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
