import { contract } from '../src/api/contract.ts';
import type { Operation } from '../src/api/contract-types.ts';
import { errorText } from '../src/base/errors.ts';
import { endpointList } from '../src/view/endpoint.ts';
import { type ServiceView, serviceList } from '../src/view/service.ts';
import type { EndpointView } from '../src/view/types.ts';
import type { ApiCollector, CallCollector, Collector } from './types.ts';

/** The agent's API as far as the bugtool needs it; `AgentClient` is one. */
export interface BugtoolAgent {
  readonly name: string;
  raw(path: string, timeoutMs?: number): Promise<string>;
  metrics(): Promise<string>;
}

/** The health agent's API; `HealthClient` is one. */
export interface BugtoolHealth {
  readonly name: string;
  healthz(): Promise<unknown>;
  status(): Promise<unknown>;
  metrics(): Promise<string>;
}

const KNOCK_MS = 3000;

/** Without JSON of its own; it has a collector. */
const NOT_JSON = ['/metrics'];

/** Not those that must be told what is asked, such as `/policy/resolve`. */
function readPaths(): string[] {
  const operations: readonly Operation[] = Object.values(contract);
  const gets = operations.filter(({ method, body }) => method === 'get' && body?.required !== true);
  return gets.map(({ path }) => path).filter((path) => !NOT_JSON.includes(path));
}

function api(apiPath: string): ApiCollector {
  const name = apiPath.slice(1).replaceAll(/[^\w./-]/g, '_');
  return { kind: 'api', id: `api/${name}`, path: `api/${name}.json`, apiPath };
}

function call(id: string, path: string, what: string, make: () => Promise<string>): CallCollector {
  return {
    kind: 'call',
    id,
    path,
    what,
    call: async function* () {
      yield await make();
    },
  };
}

function skip(collector: Collector, reason: string): Collector {
  const { id, path } = collector;
  const what = collector.kind === 'api' ? `GET /v1${collector.apiPath}` : id;
  return { kind: 'skipped', id, path, what, reason };
}

/** Ids and names that paths with a parameter are filled with. */
function parsedList(text: string): readonly Record<string, unknown>[] {
  const value: unknown = JSON.parse(text);
  if (Array.isArray(value)) return value as Record<string, unknown>[];
  const maps = typeof value === 'object' && value !== null && 'maps' in value ? value.maps : undefined;
  return Array.isArray(maps) ? (maps as Record<string, unknown>[]) : [];
}

async function expand(agent: BugtoolAgent): Promise<Collector[]> {
  const paths = readPaths();
  const fill = async (list: string, field: string, prefix: string): Promise<string[]> => {
    const values = parsedList(await agent.raw(list, KNOCK_MS)).map((item) => item[field]);
    const known = values.filter((value) => typeof value === 'number' || typeof value === 'string');
    const templates = paths.filter((path) => path.startsWith(`${prefix}{`));
    return known.flatMap((value) =>
      templates.map((path) => path.replace(/\{\w+\}/, encodeURIComponent(String(value)))),
    );
  };
  const plain = paths.filter((path) => !path.includes('{'));
  const filled = await Promise.all([
    fill('/endpoint', 'id', '/endpoint/'),
    fill('/map', 'path', '/map/').then(mapNames),
  ]);
  return [...plain, ...filled.flat()].map(api);
}

/** `/map/...%2Fcilium_lxc`: the API takes the last word of a map's path. */
function mapNames(paths: readonly string[]): string[] {
  return paths.map((path) => `/map/${path.split(/%2F|\//).at(-1) ?? ''}`);
}

function asLines(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

function agentViews(agent: BugtoolAgent): Collector[] {
  return [
    call('api/metrics', 'api/metrics.txt', 'GET /v1/metrics', () => agent.metrics()),
    call('view/endpoint-list', 'view/endpoint-list.txt', 'endpoint list', async () => {
      return asLines(endpointList(JSON.parse(await agent.raw('/endpoint')) as readonly EndpointView[]));
    }),
    call('view/service-list', 'view/service-list.txt', 'service list', async () => {
      return asLines(serviceList(JSON.parse(await agent.raw('/service')) as readonly ServiceView[]));
    }),
  ];
}

/** Every read path of the agent's API. An agent that does not answer is asked once, not by each collector. */
export async function agentCollectors(agent: BugtoolAgent): Promise<Collector[]> {
  const views = agentViews(agent);
  try {
    await agent.raw('/healthz', KNOCK_MS);
  } catch (error) {
    const reason = `the agent does not answer: ${errorText(error)}`;
    const plain = readPaths().filter((path) => !path.includes('{'));
    return [...plain.map(api), ...views].map((collector) => skip(collector, reason));
  }
  try {
    return [...(await expand(agent)), ...views];
  } catch (error) {
    const reason = `the agent does not list what it has: ${errorText(error)}`;
    const lists = readPaths().map((path) => (path.includes('{') ? skip(api(path), reason) : api(path)));
    return [...lists, ...views];
  }
}

const asJson = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

export async function healthCollectors(health: BugtoolHealth): Promise<Collector[]> {
  const collectors: Collector[] = [
    call('health/healthz', 'health/healthz.json', 'GET /v1beta/healthz', async () =>
      asJson(await health.healthz()),
    ),
    call('health/status', 'health/status.json', 'GET /v1beta/status', async () =>
      asJson(await health.status()),
    ),
    call('health/metrics', 'health/metrics.txt', 'GET /v1beta/metrics', () => health.metrics()),
  ];
  try {
    await withLimit(health.healthz(), KNOCK_MS);
    return collectors;
  } catch (error) {
    const reason = `the health agent does not answer: ${errorText(error)}`;
    return collectors.map((collector) => skip(collector, reason));
  }
}

function withLimit<T>(work: Promise<T>, limitMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
