import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { packageRoot } from '../../src/base/assets.ts';
import { DropReason, dropReasonText, MapName } from '../../src/model/constants.gen.ts';

describe('constants shared by C and TypeScript', () => {
  it('are what the generator writes from the one list', () => {
    const script = join(packageRoot(), 'scripts/generate-constants.ts');
    const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  });

  it('give each drop reason its number and text in Cilium 1.19, and each number once', () => {
    const numbers = Object.values(DropReason);
    assert.equal(new Set(numbers).size, numbers.length);
    assert.equal(dropReasonText[133], 'Policy denied');
    assert.equal(dropReasonText[181], 'Policy denied by denylist');
    assert.ok(numbers.every((number) => number >= 130 && number <= 205 && dropReasonText[number]));
  });

  it('name maps as a bpffs takes them', () => {
    for (const name of Object.values(MapName)) assert.match(name, /^[a-z0-9_]+_v\d+$/);
  });
});
