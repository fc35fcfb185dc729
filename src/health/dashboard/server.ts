import { Hono } from 'hono';
import { ApiError } from '../../api/errors.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { isOurHost, NOT_OUR_HOST } from '../../base/own-host.ts';
import { addReadRoutes, type HealthReader } from '../api/routes.ts';
import type { HealthMetrics } from '../metrics.ts';
import { createMetricsApp } from '../metrics-app.ts';
import { type Dashboard, SECURITY_HEADERS } from './dashboard.ts';

export interface DashboardAppDeps {
  readonly dashboard: Dashboard;
  readonly reader: HealthReader;
  /** Names by which this server may be asked, besides its addresses and `localhost`. */
  readonly hosts: () => readonly string[];
  /** Where both are served at one address. */
  readonly metrics?: HealthMetrics | undefined;
  readonly log: Logger;
}

/** The dashboard for TCP: it only reads, and answers only to its own names. */
export function createDashboardApp(deps: DashboardAppDeps): Hono {
  const { dashboard, reader, hosts, metrics, log } = deps;
  const app = new Hono();
  app.use('*', async (context, next) => {
    if (!isOurHost(context.req.header('host'), hosts())) {
      return context.json(NOT_OUR_HOST, 421, SECURITY_HEADERS);
    }
    if (context.req.method !== 'GET' && context.req.method !== 'HEAD') {
      return context.json('this server only reads', 405, { ...SECURITY_HEADERS, allow: 'GET, HEAD' });
    }
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) context.res.headers.set(name, value);
    return undefined;
  });
  dashboard.addTo(app);
  if (metrics !== undefined) app.route('/', createMetricsApp({ metrics, hosts }));
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
