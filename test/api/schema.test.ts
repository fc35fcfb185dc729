import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TSchema } from 'typebox';
import { Check, Create, Errors } from 'typebox/value';
import * as Api from '../../src/api/schema.ts';
import { parseJson, stringifyJson } from '../../src/base/json.ts';
import {
  answerSchema,
  HEALTH_SCHEMAS,
  type Recorded,
  recordedByAgent,
  recordedByHealth,
  recordedForClients,
} from './recorded.ts';

/** Paths of the recordings that are no part of this API. */
const NOT_SERVED = new Set(['/fqdn/names', '/fqdn/cache', '/lrp', '/prefilter', '/cgroup-dump-metadata']);

function requireMatch(schema: TSchema, { source, body }: Recorded): void {
  assert.ok(Check(schema, body), `${source}: ${JSON.stringify(Errors(schema, body).slice(0, 3))}`);
}

describe('the schemas', () => {
  it('describe every recorded answer of a real agent and every answer that real clients took', () => {
    let checked = 0;
    for (const recorded of [...recordedByAgent(), ...recordedForClients('agent-responses.json')]) {
      const schema = answerSchema(recorded.path);
      if (schema === undefined) {
        assert.ok(NOT_SERVED.has(recorded.path), `${recorded.source} has no schema`);
        continue;
      }
      requireMatch(schema, recorded);
      checked += 1;
    }
    assert.ok(checked >= 35, `only ${checked} were checked`);
  });

  it('describe every recorded answer of the health agent', () => {
    const all = [...recordedByHealth(), ...recordedForClients('health-responses.json')];
    assert.ok(all.length >= 5);
    for (const recorded of all) {
      const schema = HEALTH_SCHEMAS[recorded.path];
      assert.ok(schema, recorded.source);
      requireMatch(schema, recorded);
    }
  });

  it('know every field of the recorded answers', () => {
    const unknown = new Set<string>();
    for (const recorded of [...recordedByAgent(), ...recordedForClients('agent-responses.json')]) {
      const schema = answerSchema(recorded.path);
      if (schema !== undefined) collectUnknown(schema, recorded.body, recorded.path, unknown);
    }
    assert.deepEqual([...unknown], []);
  });

  it('take their own smallest value, and it survives JSON', () => {
    const schemas = (Object.entries(Api) as [string, TSchema][]).filter(
      ([, schema]) => typeof schema === 'object',
    );
    assert.ok(schemas.length > 80, `only ${schemas.length} schemas`);
    for (const [name, schema] of schemas) {
      const value = name === 'timestamp' ? '2026-01-01T00:00:00Z' : Create(schema);
      const back = parseJson(stringifyJson(value));
      assert.deepEqual(back, value, name);
      assert.ok(Check(schema, back), name);
    }
  });
});

interface Shape {
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly patternProperties?: Readonly<Record<string, TSchema>>;
  readonly items?: TSchema;
  readonly anyOf?: readonly TSchema[];
}

function collectUnknown(schema: TSchema, value: unknown, at: string, unknown: Set<string>): void {
  const shape = schema as unknown as Shape;
  for (const alternative of shape.anyOf ?? []) {
    if (value !== null) collectUnknown(alternative, value, at, unknown);
  }
  if (Array.isArray(value)) {
    const { items } = shape;
    if (items !== undefined) for (const item of value) collectUnknown(items, item, `${at}[]`, unknown);
    return;
  }
  if (typeof value !== 'object' || value === null || shape.anyOf !== undefined) return;
  for (const [key, member] of Object.entries(value)) {
    const known = shape.properties?.[key] ?? Object.values(shape.patternProperties ?? {})[0];
    if (known !== undefined) collectUnknown(known, member, `${at}.${key}`, unknown);
    else if (shape.properties !== undefined) unknown.add(`${at}.${key}`);
  }
}
