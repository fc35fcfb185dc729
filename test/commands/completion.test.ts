import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { cli } from './cli.ts';

/** Words before the cursor and the word under it -> what is offered. */
async function offered(...words: string[]): Promise<string[]> {
  const { stdout, stderr, code } = await cli(['--complete', ...words]);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  return stdout.split('\n').filter((word) => word !== '');
}

describe('completion', () => {
  it('offers commands and topics by their beginning', async () => {
    const words = await offered('');
    for (const word of ['status', 'endpoint', 'policy', 'bpf', 'monitor'])
      assert.ok(words.includes(word), word);
    assert.deepEqual(await offered('endp'), ['endpoint']);
    assert.deepEqual(await offered('endpoint', 'l'), ['labels', 'list', 'log']);
    assert.deepEqual(await offered('bpf', 'po'), ['policy']);
  });

  it("offers a command's flags, and the values of those that have a list", async () => {
    assert.deepEqual(await offered('status', '--al'), [
      '--all-addresses',
      '--all-clusters',
      '--all-controllers',
      '--all-health',
      '--all-nodes',
      '--all-redirects',
    ]);
    assert.deepEqual(await offered('status', '--compat', ''), ['1.19', '2018']);
    assert.deepEqual(await offered('monitor', '-t', 'd'), ['drop']);
    assert.deepEqual((await offered('completion', '')).slice(-3), ['bash', 'fish', 'zsh']);
  });

  it('prints a script that bash accepts', async () => {
    const { stdout, code } = await cli(['completion', 'bash']);
    assert.equal(code, 0);
    assert.equal(spawnSync('bash', ['-n'], { input: stdout }).status, 0);
    assert.equal((await cli(['completion', 'tcsh'])).code, 2);
  });
});
