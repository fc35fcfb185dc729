import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import { contract } from '../../src/api/contract.ts';
import type { Operation } from '../../src/api/contract-types.ts';
import * as Api from '../../src/api/schema.ts';
import { packageRoot } from '../../src/base/assets.ts';

/** One recorded answer. */
export interface Recorded {
  /** Where it was recorded, for messages. */
  readonly source: string;
  /** `/endpoint/1281`. */
  readonly path: string;
  readonly body: unknown;
}

const FIXTURES = join(packageRoot(), 'test/fixtures');

/** What a real Cilium 1.19.4 agent answered: `api-endpoint_1281_labels.json` -> `/endpoint/1281/labels`. */
export function recordedByAgent(): readonly Recorded[] {
  const folder = join(FIXTURES, 'cilium-1.19-agent');
  return readdirSync(folder)
    .filter((name) => name.startsWith('api-'))
    .map((name) => ({
      source: name,
      path: `/${pathOf(name)}`,
      body: JSON.parse(readFileSync(join(folder, name), 'utf8')),
    }));
}

function pathOf(name: string): string {
  const stem = name.slice('api-'.length, -'.json'.length);
  if (stem === 'healthz-brief') return 'healthz';
  if (stem.startsWith('map_')) return `map/${stem.slice('map_'.length)}`;
  return stem.replaceAll('_', '/');
}

/** The answers that drove both real command lines, 2018 and 1.19. */
export function recordedForClients(
  file: 'agent-responses.json' | 'health-responses.json',
): readonly Recorded[] {
  const all = JSON.parse(readFileSync(join(FIXTURES, 'cli-golden', file), 'utf8')) as Record<
    string,
    { body?: unknown }
  >;
  return Object.entries(all)
    .filter(([, answer]) => answer.body !== undefined)
    .map(([path, { body }]) => ({ source: `${file} ${path}`, path: path.replace(/^\/v1(beta)?/, ''), body }));
}

/** What the real health agent answered. */
export function recordedByHealth(): readonly Recorded[] {
  const folder = join(FIXTURES, 'cilium-1.19-agent');
  return readdirSync(folder)
    .filter((name) => name.startsWith('healthapi-'))
    .map((source) => ({
      source,
      path: `/${source.slice('healthapi-'.length, -'.json'.length).replace('-', '/')}`,
      body: JSON.parse(readFileSync(join(folder, source), 'utf8')),
    }));
}

/** The schema of a good answer to a GET; `undefined` for a path that is not part of our API. */
export function answerSchema(path: string): TSchema | undefined {
  const operations = Object.values(contract as Readonly<Record<string, Operation>>)
    .filter((operation) => operation.method === 'get')
    .toSorted((a, b) => Number(a.path.includes('{')) - Number(b.path.includes('{')));
  const pattern = (template: string): RegExp => new RegExp(`^${template.replace(/\{[\w-]+\}/g, '[^/]+')}$`);
  return operations.find((operation) => pattern(operation.path).test(path))?.answers[200]?.schema;
}

export const HEALTH_SCHEMAS: Readonly<Record<string, TSchema>> = {
  '/healthz': Api.HealthResponse,
  '/status': Api.HealthStatusResponse,
  '/status/probe': Api.HealthStatusResponse,
};
