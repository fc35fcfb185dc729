import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { startProcess } from '../support/process.ts';

const MODULE = resolve(import.meta.dirname, '../../commands/support/interrupt.ts');
const CHILD = `
  import { interruptSignal, STOPPING_OR_UNREAD } from ${JSON.stringify(MODULE)};
  const signal = interruptSignal(STOPPING_OR_UNREAD);
  signal.addEventListener('abort', () => {
    console.log(signal.reason.message);
    setTimeout(() => { console.log('tidied up'); process.exit(5); }, 200);
  });
  setInterval(() => undefined, 1000);
  console.log('ready');
`;

function startChild() {
  return startProcess([process.execPath, '--input-type=module', '-e', CHILD]);
}

describe('interruptSignal', () => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGPIPE'] as const) {
    it(`fires at ${name} and leaves time to tidy up`, async (t) => {
      const child = await startChild();
      t.after(() => child.stop('SIGKILL'));
      await child.waitForLine(/^ready$/);
      child.child.kill(name);
      await child.waitForLine(new RegExp(`^interrupted by ${name}$`));
      await child.waitForLine(/^tidied up$/);
    });
  }

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
