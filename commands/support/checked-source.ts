import type { Source } from '../../src/api/source.ts';
import { SourceError } from '../../src/api/source-error.ts';

/** What each answer must be at its outermost: a server that lies or is another one must not look like a fault of ours. */
const SHAPES = {
  healthz: 'object',
  config: 'object',
  endpoints: 'list',
  endpoint: 'object',
  endpointConfig: 'object',
  endpointLabels: 'object',
  endpointLog: 'list',
  endpointHealth: 'object',
  identities: 'list',
  identity: 'object',
  policy: 'object',
  ips: 'list',
  nodes: 'list',
  maps: 'object',
  map: 'object',
  healthStatus: 'object',
} as const satisfies Partial<Record<keyof Source, 'object' | 'list'>>;

/**
 * The value, if it is a list or an object as asked.
 * @throws SourceError code SOURCE_BAD_ANSWER
 */
export function expectShape<T>(value: T, shape: 'object' | 'list', source: string, what: string): T {
  const isList = Array.isArray(value);
  if (shape === 'list' ? isList : typeof value === 'object' && value !== null && !isList) return value;
  const found = value === null || value === undefined ? 'nothing' : isList ? 'a list' : `a ${typeof value}`;
  const wanted = shape === 'list' ? 'a list' : 'an object';
  throw new SourceError(`${source} answered ${found} where ${wanted} was asked for (${what})`, {
    code: 'SOURCE_BAD_ANSWER',
    hint: 'is this the socket of an agent?',
  });
}

/** The same source, its answers checked at their outermost. */
export function checkedSource(source: Source): Source {
  const checked = Object.entries(SHAPES).map(([name, shape]) => {
    const method = source[name as keyof typeof SHAPES] as (...args: unknown[]) => Promise<unknown>;
    const call = async (...args: unknown[]): Promise<unknown> =>
      expectShape(await method(...args), shape, source.name, name);
    return [name, call];
  });
  return { ...source, ...(Object.fromEntries(checked) as Partial<Source>) };
}
