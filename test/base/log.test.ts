import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { run } from '../../src/base/run.ts';

const MODULE = resolve(import.meta.dirname, '../../src/base/log.ts');

describe('createLog', () => {
  for (const [place, redirect] of [
    ['a full disk', '>/dev/full'],
    ['nobody', '| true'],
    ['a closed descriptor', '>&-'],
  ] as const) {
    it(`goes on when its output goes to ${place}; the file still has the lines`, async (t) => {
      const dir = mkdtempSync(join(tmpdir(), 'ciliate-log-'));
      t.after(() => rmSync(dir, { recursive: true }));
      const file = join(dir, 'log', 'agent.log');
      const code = `
        import { createLog } from ${JSON.stringify(MODULE)};
        const log = createLog({ level: 'info', file: ${JSON.stringify(file)}, fields: { process: 'agent' } });
        log.info({}, 'first');
        await new Promise((done) => setTimeout(done, 300));
        log.info({}, 'second');
        process.exit(7);
      `;
      const script = `set -o pipefail; "$@" ${redirect}`;
      const node = [process.execPath, '--input-type=module', '-e', code];
      const result = await run(['bash', '-c', script, 'log', ...node], { timeoutMs: 10_000 });
      assert.equal(result.exitCode, 7, result.stderr);
      const messages = readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { msg: string }).msg);
      assert.deepEqual(messages, ['first', 'second']);
    });
  }
});
