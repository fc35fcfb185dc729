import { Hono } from 'hono';
import type { HealthMetrics } from './metrics.ts';

/** An app that serves the metrics and nothing else: for TCP. */
export function createMetricsApp(metrics: HealthMetrics): Hono {
  const app = new Hono();
  app.get('/metrics', async (context) => {
    return context.body(await metrics.text(), 200, { 'content-type': metrics.contentType });
  });
  return app;
}
