import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Hono } from 'hono';
import { silentLog } from '../../src/base/log.ts';
import {
  closeAppServer,
  createAppServer,
  createHealthApp,
  type Health,
  type HealthMetrics,
} from '../../src/health/index.ts';
import type { Got } from './get-worker.ts';

export interface StatusServerDeps {
  /** What the health agent keeps. */
  readonly kept: () => Buffer<ArrayBuffer>;
  /** The same, for `JSON.stringify`. */
  readonly anew: () => object;
}

/** `/anew`: made and written anew; `/bytes`: as many bytes, which are there already. */
export type StatusRoute = '/v1beta/status' | '/anew' | '/bytes';

/** The server of the health agent on a unix socket, as an agent makes it, with two more routes, and a client in another thread. */
export class StatusServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ciliate-status-'));
  readonly #server: Server;
  #client: Worker | undefined;

  constructor({ kept, anew }: StatusServerDeps) {
    const health: Partial<Health> = { statusText: kept };
    const metrics: HealthMetrics = { contentType: 'text/plain', text: () => Promise.resolve('') };
    const app = new Hono();
    app.get('/anew', (context) => context.json(anew()));
    const bytes = kept();
    app.get('/bytes', (context) => context.body(bytes, 200));
    app.route(
      '/',
      createHealthApp({
        health: health as Health,
        metrics,
        log: silentLog,
        wallMs: () => Date.now(),
        uptimeMs: () => performance.now(),
      }),
    );
    this.#server = createAppServer(app);
  }

  async start(): Promise<void> {
    const socketPath = join(this.#folder, 'health.sock');
    this.#server.listen(socketPath);
    await once(this.#server, 'listening');
    this.#client = new Worker(new URL('./get-worker.ts', import.meta.url), { workerData: socketPath });
    await once(this.#client, 'online');
  }

  /** @throws Error when the answer is another one than 200 */
  async get(path: StatusRoute): Promise<Got> {
    if (this.#client === undefined) throw new Error('not started');
    this.#client.postMessage(path);
    const [got] = (await once(this.#client, 'message')) as [Got];
    if (got.status !== 200) throw new Error(`${path} answered ${got.status}`);
    return got;
  }

  async stop(): Promise<void> {
    await this.#client?.terminate();
    await closeAppServer(this.#server);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
