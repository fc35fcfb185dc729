import { ApiError } from '../../api/errors.ts';
import type { HealthProbeRequest } from '../../api/schema.ts';
import { closestName } from '../../base/did-you-mean.ts';
import { PROBE_COUNT, PROBE_COUNT_MAX, PROBE_RUN_MAX_MS, probeRunMs } from '../../model/health-probe-run.ts';

/** Probes of one request at most. */
export const PROBES_MAX = 100_000;

/** @throws ApiError 400 with the name that was probably meant */
export function requireNode(name: string, names: readonly string[], field: string): string {
  if (names.includes(name)) return name;
  const meant = closestName(name, names);
  const hint = meant === undefined ? `it has ${names.length}` : `did you mean ${meant}?`;
  throw new ApiError(400, `no node ${JSON.stringify(name)} in the node list; ${hint}`, { field });
}

/** Realtime ms of an RFC 3339 time; undefined without one. @throws ApiError 400 */
export function parseSince(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new ApiError(400, `${JSON.stringify(text)} is no time as 2026-01-31T12:00:00Z`, { field: 'since' });
}

export interface ProbeOrder {
  readonly nodes: readonly string[];
  readonly count: number;
  readonly timeoutMs: number;
}

function integer(value: unknown, field: string, usual: number, most: number): number {
  if (value === undefined) return usual;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new ApiError(400, `${JSON.stringify(value)} is not 1 to ${most}`, { field });
}

function isObject(value: unknown): value is Readonly<Record<keyof HealthProbeRequest, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads the body of `PUT /probe`. No nodes: all but our own. @throws ApiError 400 */
export function parseProbeOrder(
  body: unknown,
  { names, self }: { readonly names: readonly string[]; readonly self: string | undefined },
): ProbeOrder {
  if (!isObject(body)) throw new ApiError(400, 'expected an object as {"nodes": ["n1"], "count": 5}');
  const asked: unknown = body.nodes ?? [];
  if (!Array.isArray(asked) || asked.some((name) => typeof name !== 'string')) {
    throw new ApiError(400, 'expected a list of names', { field: 'nodes' });
  }
  const nodes = (asked as string[]).map((name, i) => requireNode(name, names, `nodes[${i}]`));
  const count = integer(body.count, 'count', PROBE_COUNT, PROBE_COUNT_MAX);
  const timeoutMs = integer(body['timeout-ms'], 'timeout-ms', probeRunMs(count), PROBE_RUN_MAX_MS);
  const all = names.filter((name) => name !== self);
  return { nodes: nodes.length === 0 ? all : [...new Set(nodes)], count, timeoutMs };
}
