import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { ciliate } from '../../src/lab/agent-process.ts';
import { isClean, leftovers, snapshot } from '../support/netns.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { startProcess } from '../support/process.ts';

const CASES = [
  ['lab up', ['lab', 'up', '--nodes', '1'], 'SIGINT', 130],
  ['lab up', ['lab', 'up', '--nodes', '1'], 'SIGTERM', 143],
  ['demo', ['demo'], 'SIGINT', 130],
] as const;

describe('a command that makes a lab, interrupted', { skip: bpfOrSkip() }, () => {
  for (const [name, words, signal, code] of CASES) {
    it(`${name} at ${signal} exits ${code} and leaves nothing behind`, async (t) => {
      const lab = `e${randomBytes(3).toString('hex')}`;
      const before = snapshot();
      const child = await startProcess([...ciliate(...words), '--name', lab]);
      t.after(() => child.stop('SIGKILL'));
      await child.waitForLine(/node1|agent/, 60_000);
      child.child.kill(signal);
      const exit = await new Promise<number | null>((resolve) => child.child.once('exit', resolve));
      assert.equal(exit, code, child.output());
      assert.match(child.output(), new RegExp(`interrupted by ${signal}`));
      const left = leftovers(before, new RegExp(lab));
      assert.ok(isClean(left), JSON.stringify(left));
    });
  }
});
