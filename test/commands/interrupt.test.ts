import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { eventually, startProcess } from '../support/process.ts';

const MODULE = resolve(import.meta.dirname, '../../commands/support/interrupt.ts');
const CHILD = `
  import { interruptSignal, STOPPING_OR_UNREAD, tellOutputClosed } from ${JSON.stringify(MODULE)};
  const signal = interruptSignal(STOPPING_OR_UNREAD);
  signal.addEventListener('abort', () => {
    console.error(signal.reason.message, signal.reason.exitCode);
    setTimeout(() => { console.error('tidied up'); process.exit(5); }, 200);
  });
  process.stdout.on('error', () => tellOutputClosed());
  setInterval(() => console.log('still there'), 20);
  console.log('ready');
`;

function startChild() {
  return startProcess([process.execPath, '--input-type=module', '-e', CHILD]);
}

describe('interruptSignal', () => {
  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    it(`fires at ${name} and leaves time to tidy up`, async (t) => {
      const child = await startChild();
      t.after(() => child.stop('SIGKILL'));
      await child.waitForLine(/^ready$/);
      child.child.kill(name);
      await child.waitForLine(new RegExp(`^interrupted by ${name} ${code}$`));
      await child.waitForLine(/^tidied up$/);
    });
  }

  it('fires when nobody reads the output any more', async (t) => {
    const child = await startChild();
    t.after(() => child.stop('SIGKILL'));
    await child.waitForLine(/^ready$/);
    child.child.stdout?.destroy();
    await child.waitForLine(/^interrupted by SIGPIPE 141$/);
    await child.waitForLine(/^tidied up$/);
  });

  it('does not fire at the SIGPIPE of some socket', async (t) => {
    const child = await startChild();
    t.after(() => child.stop('SIGKILL'));
    await child.waitForLine(/^ready$/);
    child.child.kill('SIGPIPE');
    const before = child.output().length;
    await eventually('lines after the signal', () => child.output().length > before + 60);
    assert.doesNotMatch(child.output(), /interrupted/);
  });

  it('is not cut short by the second SIGHUP of a closing terminal, but by a second SIGINT', async (t) => {
    for (const [name, end] of [['SIGHUP', 5] as const, ['SIGINT', undefined] as const]) {
      const child = await startChild();
      t.after(() => child.stop('SIGKILL'));
      await child.waitForLine(/^ready$/);
      child.child.kill(name);
      await child.waitForLine(/^interrupted by/);
      assert.equal(await child.stop(name), end);
    }
  });
});
