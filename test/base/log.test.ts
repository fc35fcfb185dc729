import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { createLog } from '../../src/base/log.ts';
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

  const logIn = (dir: string) =>
    createLog({ level: 'info', stdout: false, file: join(dir, 'log', 'agent.log') });

  it('makes no file and no folder before there is a line of its level', (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'ciliate-log-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const log = logIn(dir);
    log.debug({}, 'not wanted');
    assert.deepEqual(readdirSync(dir), []);
    log.info({}, 'first');
    assert.match(readFileSync(join(dir, 'log', 'agent.log'), 'utf8'), /"first"/);
  });

  it('says once on its other output that the file cannot be made, and goes on', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'ciliate-log-'));
    t.after(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, 'log'), 'a file where a folder is wanted');
    const code = `
      import { createLog } from ${JSON.stringify(MODULE)};
      const log = createLog({ level: 'info', file: ${JSON.stringify(join(dir, 'log', 'agent.log'))} });
      log.info({}, 'first');
      log.info({}, 'second');
    `;
    const { stdout, stderr } = await run([process.execPath, '--input-type=module', '-e', code], {
      timeoutMs: 10_000,
    });
    const said = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
    assert.deepEqual(said.sort(), ['first', 'no log file', 'second'], stderr);
  });
});
