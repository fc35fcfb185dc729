import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { buildId } from '../../src/base/build-id.ts';

describe('the id of a build', () => {
  const root = mkdtempSync(join(tmpdir(), 'ciliate-build-'));
  after(() => rmSync(root, { recursive: true }));

  it('changes with the bytes and the names of what is compiled, and with nothing else', () => {
    const none = buildId(root);
    mkdirSync(join(root, 'dist'));
    mkdirSync(join(root, 'build'));
    writeFileSync(join(root, 'dist', 'run.cjs'), 'a');
    const first = buildId(root);
    writeFileSync(join(root, 'dist', 'help.txt'), 'help');
    writeFileSync(join(root, 'dist', 'run.cjs'), 'a');
    assert.equal(buildId(root), first);
    writeFileSync(join(root, 'dist', 'run.cjs'), 'b');
    const second = buildId(root);
    writeFileSync(join(root, 'build', 'x.node'), '');
    assert.equal(new Set([none, first, second, buildId(root)]).size, 4);
    assert.match(first, /^[0-9a-f]{12}$/);
  });
});
