import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeFolder } from '../../src/base/make-folder.ts';

describe('makeFolder', () => {
  it('makes what is missing above, and may be called again', (t) => {
    const root = mkdtempSync(join(tmpdir(), 'ciliate-folder-'));
    t.after(() => rmSync(root, { recursive: true }));
    makeFolder(join(root, 'a', 'b', 'c'));
    makeFolder(join(root, 'a', 'b', 'c'));
    assert.ok(statSync(join(root, 'a', 'b', 'c')).isDirectory());
  });

  it('gives up where nothing can be made: in /proc, below a link to nowhere', (t) => {
    const root = mkdtempSync(join(tmpdir(), 'ciliate-folder-'));
    t.after(() => rmSync(root, { recursive: true }));
    symlinkSync(join(root, 'nowhere'), join(root, 'link'));
    assert.throws(() => makeFolder('/proc/nope/log'), { code: 'ENOENT' });
    assert.throws(() => makeFolder(join(root, 'link', 'log')), { code: 'ENOENT' });
  });
});
