import { isIP } from 'node:net';
import { Hono } from 'hono';
import { ApiError } from '../../api/errors.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { addReadRoutes, type HealthReader } from '../api/routes.ts';
import type { HealthMetrics } from '../metrics.ts';
import { createMetricsApp } from '../metrics-app.ts';
import { type Dashboard, SECURITY_HEADERS } from './dashboard.ts';

export interface DashboardAppDeps {
  readonly dashboard: Dashboard;
  readonly reader: HealthReader;
  /** Names by which this server may be asked, besides its addresses and `localhost`. */
  readonly hosts: readonly string[];
  /** Where both are served at one address. */
  readonly metrics?: HealthMetrics | undefined;
  readonly log: Logger;
}

/** The name in a Host header, without the port; undefined: it is none. */
function hostName(header: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([-.\w]+))(?::\d{1,5})?$/i.exec(header);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/**
 * Whether a request came for us. A page of somebody else's can make its own name mean our address (DNS rebinding), but not
 * an address or `localhost`: only those and names that we were told are answered.
 */
export function isOurHost(header: string | undefined, hosts: readonly string[]): boolean {
  const name = header === undefined ? undefined : hostName(header);
  if (name === undefined) return false;
  return isIP(name) !== 0 || name === 'localhost' || hosts.some((host) => host.toLowerCase() === name);
}

/** The dashboard for TCP: it only reads, and answers only to its own names. */
export function createDashboardApp(deps: DashboardAppDeps): Hono {
  const { dashboard, reader, hosts, metrics, log } = deps;
  const app = new Hono();
  app.use('*', async (context, next) => {
    if (!isOurHost(context.req.header('host'), hosts)) {
      const text =
        'asked by a name that is not ours: use an address, localhost, or the name in --dashboard-addr';
      return context.json(text, 421, SECURITY_HEADERS);
    }
    if (context.req.method !== 'GET' && context.req.method !== 'HEAD') {
      return context.json('this server only reads', 405, { ...SECURITY_HEADERS, allow: 'GET, HEAD' });
    }
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) context.res.headers.set(name, value);
    return undefined;
  });
  dashboard.addTo(app);
  if (metrics !== undefined) app.route('/', createMetricsApp(metrics));
  const api = new Hono();
  addReadRoutes(api, reader);
  app.route('/v1beta', api);
  app.notFound((context) => context.json(`${context.req.path} is not here`, 404, SECURITY_HEADERS));
  app.onError((error, context) => {
    if (error instanceof ApiError)
      return context.json(errorText(error), error.status as 400, SECURITY_HEADERS);
    log.error({ path: context.req.path, reason: errorText(error) }, 'a call of the dashboard failed');
    return context.json(errorText(error), 500, SECURITY_HEADERS);
  });
  return app;
}
