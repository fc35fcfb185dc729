import type { Context, Hono } from 'hono';
import { ApiError } from '../../api/errors.ts';
import type { HealthPathReport } from '../../api/schema.ts';
import { parseJson } from '../../base/json.ts';
import type { HealthVerdict } from '../../model/health.ts';
import type { Health } from '../health.ts';
import { historyAnswer, mtuAnswer, pathAnswer } from './answers.ts';
import { diagnosisAnswer, type VerdictWords } from './diagnosis-answer.ts';
import { matrixAnswer } from './matrix-answer.ts';
import { pairAnswer } from './pair.ts';
import { probeAnswer } from './probe-answer.ts';
import { readiness } from './readiness.ts';
import { PROBES_MAX, parseProbeOrder, parseSince, requireNode } from './requests.ts';

export interface RouteDeps {
  readonly health: Health;
  /** Realtime, and when the agent started: older changes were never seen. */
  readonly wallMs: () => number;
  readonly startedMs: number;
  readonly words: (verdict: HealthVerdict) => VerdictWords;
  readonly askPeer?: ((address: string, peer: string) => Promise<readonly HealthPathReport[]>) | undefined;
}

const BODY_MAX_BYTES = 1024 * 1024;
/** Runs of probes on demand at once. */
const RUNS_MAX = 4;

/** What the routes read, computed when asked. */
export class HealthReader {
  readonly deps: RouteDeps;

  constructor(deps: RouteDeps) {
    this.deps = deps;
  }

  get self(): string | undefined {
    return this.deps.health.nodes().self;
  }

  names(): string[] {
    return this.deps.health.nodes().nodes.map(({ name }) => name);
  }

  /** A node named by the query; undefined without one. @throws ApiError 400 */
  node(context: Context, field: string): string | undefined {
    const name = context.req.query(field);
    return name === undefined ? undefined : requireNode(name, this.names(), field);
  }

  /** The same, or else our own. @throws ApiError 400 */
  nodeOrSelf(context: Context, field: string): string {
    const name = this.node(context, field) ?? this.self;
    if (name === undefined)
      throw new ApiError(400, 'the name of this node is not known yet: name one', { field });
    return name;
  }
}

async function jsonBody(context: Context): Promise<unknown> {
  const declared = Number(context.req.header('content-length') ?? 0);
  const text = declared > BODY_MAX_BYTES ? '' : await context.req.text();
  if (declared > BODY_MAX_BYTES || text.length > BODY_MAX_BYTES) {
    throw new ApiError(413, `the body is longer than ${BODY_MAX_BYTES} bytes`);
  }
  try {
    return parseJson(text);
  } catch (cause) {
    throw new ApiError(400, 'the body is no JSON', { cause });
  }
}

/** What only reads: paths, matrix, diagnosis, history, MTU, readiness. */
export function addReadRoutes(api: Hono, reader: HealthReader): void {
  const { health, wallMs, startedMs, words, askPeer } = reader.deps;
  api.get('/paths', (context) => context.json(health.reports(reader.node(context, 'peer')).map(pathAnswer)));
  api.get('/pair', async (context) => {
    const from = reader.nodeOrSelf(context, 'from');
    const to = reader.nodeOrSelf(context, 'to');
    return context.json(await pairAnswer({ health, askPeer }, from, to));
  });
  api.get('/matrix', (context) => {
    return context.json(matrixAnswer(health.matrix(), wallMs(), reader.node(context, 'node')));
  });
  api.get('/diagnosis', (context) => {
    return context.json(diagnosisAnswer(reader.self, health.diagnosis(), words));
  });
  api.get('/history', (context) => {
    const sinceMs = parseSince(context.req.query('since')) ?? startedMs;
    const peer = reader.node(context, 'peer');
    const changes = health.history(sinceMs).filter(({ path }) => peer === undefined || path.peer === peer);
    return context.json(historyAnswer(reader.self, Math.max(sinceMs, startedMs), changes));
  });
  api.get('/mtu', (context) =>
    context.json(mtuAnswer(reader.self, health.reports(reader.node(context, 'peer')))),
  );
  api.get('/ready', (context) => {
    const node = reader.node(context, 'node') ?? reader.self ?? '';
    const input = { node, view: health.matrix(), diagnosis: health.diagnosis(), wallMs: wallMs() };
    const answer = readiness(input);
    return context.json(answer, answer.ready ? 200 : 503);
  });
}

/** Probes on demand: bounded in number, in time, and in how many run at once. */
export function addProbeRoute(api: Hono, reader: HealthReader): void {
  const { health } = reader.deps;
  let running = 0;
  api.put('/probe', async (context) => {
    const order = parseProbeOrder(await jsonBody(context), { names: reader.names(), self: reader.self });
    const paths = order.nodes.reduce((sum, name) => sum + health.reports(name).length, 0);
    if (paths * order.count > PROBES_MAX) {
      const text = `${paths} paths by ${order.count} probes are more than ${PROBES_MAX}: name fewer nodes, or a lower count`;
      throw new ApiError(400, text, { field: 'count' });
    }
    if (running >= RUNS_MAX)
      throw new ApiError(429, `${running} runs of probes are under way: try again soon`);
    running++;
    try {
      const run = await health.probe(order.nodes, order);
      return context.json(probeAnswer(reader.self, order, run));
    } finally {
      running--;
    }
  });
}
