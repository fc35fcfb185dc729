import { Hono } from 'hono';
import { isOurHost, NOT_OUR_HOST } from '../base/own-host.ts';
import type { HealthMetrics } from './metrics.ts';

export interface MetricsAppDeps {
  readonly metrics: HealthMetrics;
  /** Names by which this server may be asked, besides its addresses and `localhost`. */
  readonly hosts: () => readonly string[];
}

/** An app that serves the metrics and nothing else: for TCP. */
export function createMetricsApp({ metrics, hosts }: MetricsAppDeps): Hono {
  const app = new Hono();
  app.get('/metrics', async (context) => {
    if (!isOurHost(context.req.header('host'), hosts())) return context.text(`${NOT_OUR_HOST}\n`, 421);
    return context.body(await metrics.text(), 200, { 'content-type': metrics.contentType });
  });
  return app;
}
