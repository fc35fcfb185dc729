import type { Hono } from 'hono';
import type { ListenAddress } from '../base/option-parsers.ts';
import { listenOnUnixSocket } from '../base/unix-socket.ts';
import {
  closeAppServer,
  createAppServer,
  createDashboardApp,
  createHealthApp,
  createMetricsApp,
  type Dashboard,
  type HealthReader,
  type HealthServerDeps,
  METRICS_REQUESTS_A_CONNECTION,
} from '../health/index.ts';
import { listenOnTcp, type Releases } from './health-parts.ts';

export interface HealthServersOptions {
  /** Names by which metrics and dashboard may be asked, besides addresses, `localhost` and the node's name. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Undefined: metrics on the unix socket only. Without a host: at the first source, else on loopback. */
  readonly metricsAddress?: ListenAddress | undefined;
  /** Undefined: the dashboard on the unix socket only. Without a host: as the metrics; it may be the same address. */
  readonly dashboardAddress?: ListenAddress | undefined;
  /** Addresses that probes leave from, at most one a family. */
  readonly sources?: readonly string[] | undefined;
}

/** Requests of one connection: a page takes a dozen at its start and a few each time somebody looks at a pair. */
const DASHBOARD_REQUESTS_A_CONNECTION = 1000;

/** Serves health.sock, and metrics and dashboard over TCP where asked. @returns where, for the log */
export async function serveHealth(
  socket: string,
  options: HealthServersOptions,
  deps: HealthServerDeps & { readonly reader: HealthReader; readonly dashboard: Dashboard },
  releases: Releases,
): Promise<string[]> {
  const { reader, dashboard } = deps;
  const server = createAppServer(createHealthApp(deps));
  await listenOnUnixSocket(server, { path: socket });
  releases.push(() => closeAppServer(server));
  releases.push(() => dashboard.stop());
  const { metricsAddress, dashboardAddress, sources } = options;
  const { metrics, log } = deps;
  const listen = async (
    what: string,
    address: ListenAddress,
    app: Hono,
    requests: number,
  ): Promise<string> => {
    const tcp = createAppServer(app, requests);
    const host = address.host ?? sources?.[0] ?? '127.0.0.1';
    const where = await listenOnTcp(tcp, { host, port: address.port }, what);
    releases.push(() => closeAppServer(tcp));
    return where;
  };
  const hosts = (): string[] => ourNames(options, deps.health.nodes().self);
  const shared = isSameAddress(metricsAddress, dashboardAddress);
  const where: string[] = [];
  if (metricsAddress !== undefined && !shared) {
    const app = createMetricsApp({ metrics, hosts });
    where.push(await listen('metrics', metricsAddress, app, METRICS_REQUESTS_A_CONNECTION));
  }
  if (dashboardAddress === undefined) return where;
  dashboard.record();
  const app = createDashboardApp({ dashboard, reader, hosts, log, metrics: shared ? metrics : undefined });
  where.push(await listen('dashboard', dashboardAddress, app, DASHBOARD_REQUESTS_A_CONNECTION));
  return where;
}

/** What this node is called by those who were told: its own name may only be known once its list has come. */
function ourNames(
  { metricsAddress, dashboardAddress, allowedHosts = [] }: HealthServersOptions,
  self: string | undefined,
): string[] {
  const named = [metricsAddress?.host, dashboardAddress?.host, self];
  return [...named.filter((name) => name !== undefined), ...allowedHosts];
}

function isSameAddress(a: ListenAddress | undefined, b: ListenAddress | undefined): boolean {
  return a !== undefined && b !== undefined && a.host === b.host && a.port === b.port && a.port !== 0;
}
