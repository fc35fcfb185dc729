import { createServer, type Server } from 'node:http';
import { loadavg } from 'node:os';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { ApiError } from '../api/errors.ts';
import type { HealthPathReport, HealthResponse, StatusResponse } from '../api/schema.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { formatDuration } from '../view/duration.ts';
import { verdictText } from '../view/health-diagnosis.ts';
import { addProbeRoute, addReadRoutes, HealthReader } from './api/routes.ts';
import type { Dashboard } from './dashboard/dashboard.ts';
import type { Health } from './health.ts';
import type { HealthMetrics } from './metrics.ts';

export interface HealthServerDeps {
  readonly health: Health;
  readonly metrics: HealthMetrics;
  /** The agent's `GET /healthz`; undefined where there is no agent. */
  readonly agentStatus?: (() => Promise<StatusResponse>) | undefined;
  /** Asks another node's health agent, at an address of it, for its paths to a peer. */
  readonly askPeer?: ((address: string, peer: string) => Promise<readonly HealthPathReport[]>) | undefined;
  /** Default: one of its own. */
  readonly reader?: HealthReader | undefined;
  readonly dashboard?: Dashboard | undefined;
  readonly log: Logger;
  /** Realtime, ms. */
  readonly wallMs: () => number;
  /** Time this process is up, in ms. */
  readonly uptimeMs: () => number;
}

const REQUEST_TIMEOUT_MS = 5000;
const CONNECTIONS_MAX = 256;
/** Of the server on TCP: a scraper asks once in a while; whoever sends thousands in a row wants our memory and time. */
export const METRICS_REQUESTS_A_CONNECTION = 10;

/** Where an agent that does not answer is told, in the form of one that does. */
async function agentHealth(deps: HealthServerDeps): Promise<StatusResponse> {
  if (deps.agentStatus === undefined) return { cilium: { state: 'Disabled', msg: 'no agent is configured' } };
  try {
    return await deps.agentStatus();
  } catch (error) {
    return { cilium: { state: 'Failure', msg: `agent does not answer: ${errorText(error)}` } };
  }
}

async function healthResponse(deps: HealthServerDeps): Promise<HealthResponse> {
  const [last1min, last5min, last15min] = loadavg().map((load) => load.toFixed(2));
  return {
    cilium: await agentHealth(deps),
    uptime: formatDuration(BigInt(Math.round(deps.uptimeMs() * 1e6))),
    'system-load': { last1min, last5min, last15min },
  };
}

/** What the routes of all servers read. */
export function createHealthReader(
  deps: Pick<HealthServerDeps, 'health' | 'wallMs' | 'askPeer' | 'uptimeMs'>,
): HealthReader {
  const { health, wallMs, askPeer, uptimeMs } = deps;
  const startedMs = wallMs() - uptimeMs();
  return new HealthReader({
    health,
    wallMs,
    startedMs,
    askPeer,
    words: verdictText,
  });
}

/** The routes of Cilium's health API, those of 2018 too, and ours; errors are bare JSON strings, as there. */
export function createHealthApp(deps: HealthServerDeps): Hono {
  const api = new Hono();
  const { reader = createHealthReader(deps), dashboard } = deps;
  addReadRoutes(api, reader);
  addProbeRoute(api, reader);
  api.get('/hello', (context) => context.body(null, 200));
  api.get('/healthz', async (context) => context.json(await healthResponse(deps)));
  api.get('/status', (context) => {
    return context.body(deps.health.statusText(), 200, { 'content-type': 'application/json' });
  });
  api.put('/status/probe', async (context) => context.json(await deps.health.probeNow()));
  api.get('/metrics', async (context) => {
    return context.body(await deps.metrics.text(), 200, { 'content-type': deps.metrics.contentType });
  });
  const app = new Hono();
  dashboard?.addTo(app);
  app.route('/v1beta', api);
  app.notFound((context) => {
    const known = api.routes.some(({ path }) => `/v1beta${path}` === context.req.path);
    const text = `${context.req.method} ${context.req.path} is not of this API`;
    return context.json(text, known ? 405 : 404);
  });
  app.onError((error, context) => {
    if (error instanceof ApiError) return context.json(errorText(error), error.status as 400);
    deps.log.error({ path: context.req.path, reason: errorText(error) }, 'a health API call failed');
    return context.json(errorText(error), 500);
  });
  return app;
}

/**
 * A server of an app, bounded in time and connections, not yet listening.
 * @param requestsMax how many requests one connection may make; 0: any number
 */
export function createAppServer(app: Hono, requestsMax = 0): Server {
  const listener = getRequestListener((request, env) => app.fetch(request, env), {
    overrideGlobalObjects: false,
  });
  const server = createServer(
    {
      requireHostHeader: false,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: 1000,
    },
    (incoming, outgoing) => {
      // On a unix socket the host says nothing: clients leave it empty, or send the socket's path.
      incoming.headers.host = 'localhost';
      void listener(incoming, outgoing);
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.maxRequestsPerSocket = requestsMax;
  return server;
}

/** Ends all connections. */
export function closeAppServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
