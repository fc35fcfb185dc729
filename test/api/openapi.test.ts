import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { contract } from '../../src/api/contract.ts';
import { openApiDocument } from '../../src/api/openapi.ts';
import { packageRoot } from '../../src/base/assets.ts';

const read = (path: string): string => readFileSync(join(packageRoot(), path), 'utf8');

describe('the OpenAPI document', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };

  it('that is checked in is the one of the contract', () => {
    assert.deepEqual(
      JSON.parse(read('src/api/openapi.json')),
      JSON.parse(JSON.stringify(openApiDocument(version))),
    );
  });

  it('has every operation once and no reference that leads nowhere', () => {
    const text = JSON.stringify(openApiDocument(version));
    const document = JSON.parse(text) as {
      paths: Record<string, Record<string, { operationId: string }>>;
      components: { schemas: Record<string, object> };
    };
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map((entry) => entry.operationId),
    );
    assert.deepEqual(ids.toSorted(), Object.keys(contract).toSorted());
    for (const [, name = ''] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) {
      assert.ok(name in document.components.schemas, name);
    }
  });

  it('declares every parameter of each path', () => {
    for (const [name, operation] of Object.entries(contract)) {
      const inTemplate = [...operation.path.matchAll(/\{([\w-]+)\}/g)].map((match) => match[1]);
      const declared = Object.entries(operation.params).filter(
        ([, param]) => (param as { in: string }).in === 'path',
      );
      assert.deepEqual(
        declared.map(([param]) => param),
        inTemplate,
        name,
      );
    }
  });
});
