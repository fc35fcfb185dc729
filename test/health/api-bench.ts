import type { Hono } from 'hono';
import type { NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import {
  createHealth,
  createHealthApp,
  createHealthMetrics,
  type Health,
  RequestProber,
} from '../../src/health/index.ts';
import type { HealthServerDeps } from '../../src/health/server.ts';
import { FakeNodes, FakeProbe, reply } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface ApiBench {
  readonly clock: VirtualClock;
  readonly nodes: FakeNodes;
  readonly icmp: FakeProbe;
  readonly http: FakeProbe;
  readonly health: Health;
  readonly app: Hono;
  /** Calls a route below /v1beta; the answer parsed. */
  call(path: string, init?: RequestInit): Promise<{ readonly status: number; readonly body: unknown }>;
}

/** The API of a health agent `n1` whose probes a test answers and whose time passes when it says so. */
export function apiBench(
  elements: readonly NodeElement[],
  more: Partial<Omit<HealthServerDeps, 'health'>> & { readonly health?: (health: Health) => Health } = {},
): ApiBench {
  const clock = new VirtualClock();
  const nodes = new FakeNodes('n1', elements);
  const icmp = new FakeProbe('icmp', () => reply(20_000));
  const http = new FakeProbe('http', () => reply(300_000));
  const made = createHealth(
    { interval: { kind: 'fixed', ms: 1000 } },
    {
      nodes,
      probers: [
        new RequestProber({ responder: 'icmp', probes: { host: icmp }, clock, random: () => 0 }),
        new RequestProber({ responder: 'http', probes: { host: http }, clock, random: () => 0 }),
      ],
      clock,
      log: silentLog,
    },
  );
  const health = more.health?.(made) ?? made;
  const wallMs = (): number => clock.wallMs();
  const metrics = createHealthMetrics({ health: () => health, engine: () => undefined, clock });
  const deps = { metrics, log: silentLog, wallMs, uptimeMs: () => clock.nowMs() };
  const app = createHealthApp({ ...deps, ...more, health });
  return {
    clock,
    nodes,
    icmp,
    http,
    health,
    app,
    call: async (path, init) => {
      const answer = await app.request(`/v1beta${path}`, init);
      const text = await answer.text();
      return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
    },
  };
}
