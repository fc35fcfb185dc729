import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { run, runChecked } from '../../src/base/run.ts';

const node = process.execPath;

describe('run', () => {
  it('gives exit code and both streams', async () => {
    const result = await run([node, '-e', 'console.log("out"); console.error("err"); process.exit(3)'], {
      timeoutMs: 10_000,
    });
    assert.deepEqual([result.exitCode, result.stdout, result.stderr], [3, 'out\n', 'err\n']);
  });

  it('kills the whole process group at the deadline and rejects', async () => {
    const command = run(['bash', '-c', 'sleep 61 & sleep 61'], { timeoutMs: 200 });
    await assert.rejects(command, { code: 'COMMAND_TIMEOUT' });
  });

  it('drops what exceeds the cap', async () => {
    const result = await run([node, '-e', 'process.stdout.write("x".repeat(300000))'], {
      timeoutMs: 10_000,
      maxBytes: 1000,
    });
    assert.equal(result.stdout.length, 1000);
  });

  it('hands over the input', async () => {
    assert.equal(await runChecked(['cat'], { timeoutMs: 5000, input: 'hello' }), 'hello');
  });

  it('survives a command that does not read its input', async () => {
    const result = await run(['true'], { timeoutMs: 5000, input: 'x'.repeat(1_000_000) });
    assert.equal(result.exitCode, 0);
  });

  it('rejects when there is no such program', async () => {
    await assert.rejects(run(['/nonexistent/program'], { timeoutMs: 1000 }), { code: 'COMMAND_MISSING' });
  });

  it('names the command and what it said when it must not fail', async () => {
    await assert.rejects(
      runChecked(['bash', '-c', 'echo no luck >&2; exit 4'], { timeoutMs: 5000 }),
      (error: Error) => {
        assert.match(error.message, /exit 4: no luck/);
        return true;
      },
    );
  });
});
