import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { stageFiles } from '../../src/base/atomic-file.ts';

describe('files that are replaced together', () => {
  let folder: string;
  let paths: [string, string];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ciliate-files-'));
    paths = [join(folder, 'a'), join(folder, 'b')];
    for (const path of paths) writeFileSync(path, 'old');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const contents = (): string[] => paths.map((path) => readFileSync(path, 'utf8'));

  it('are as they were until they are committed, and then the new ones, with nothing beside them', async () => {
    const staged = await stageFiles(paths, 'new');
    assert.deepEqual(contents(), ['old', 'old']);
    await staged.commit();
    assert.deepEqual(contents(), ['new', 'new']);
    assert.deepEqual(readdirSync(folder).sort(), ['a', 'b']);
  });

  it('stay as they were when the change is given up', async () => {
    await (await stageFiles(paths, 'new')).discard();
    assert.deepEqual(contents(), ['old', 'old']);
    assert.deepEqual(readdirSync(folder).sort(), ['a', 'b']);
  });

  it('stay as they were when one of them cannot be written, and the reason is told', async () => {
    mkdirSync(join(folder, 'b.new'));
    await assert.rejects(stageFiles(paths, 'new'), {
      code: 'STATE_UNWRITABLE',
      message: /cannot write .*b/,
    });
    assert.deepEqual(contents(), ['old', 'old']);
    assert.deepEqual(readdirSync(folder).sort(), ['a', 'b', 'b.new']);
  });

  it('leave nothing beside them when one cannot be put in its place', async () => {
    rmSync(paths[1]);
    mkdirSync(join(paths[1], 'in-the-way'), { recursive: true });
    const staged = await stageFiles(paths, 'new');
    await assert.rejects(staged.commit(), { code: 'STATE_UNWRITABLE' });
    assert.deepEqual(readdirSync(folder).sort(), ['a', 'b']);
  });
});
