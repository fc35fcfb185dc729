import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const CASES = 46;
const ROOT = join(import.meta.dirname, '..');

describe('the corner cases of policy', () => {
  it('all have a test of their number, here or, those of a whole cluster, in the end-to-end suite', () => {
    const files = globSync(['corner/*.test.ts', 'e2e/*.test.ts'], { cwd: ROOT });
    const text = files.map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n');
    const found = new Set(
      [...text.matchAll(/\bit\(\s*['"`]corner case (\d+):/g)].map(([, number]) => Number(number)),
    );
    const missing = Array.from({ length: CASES }, (_, i) => i + 1).filter((number) => !found.has(number));
    assert.deepEqual(missing, []);
  });
});
