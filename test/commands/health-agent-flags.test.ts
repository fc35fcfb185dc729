import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cli } from './cli.ts';

describe('flags of the health agent that are out of bounds', () => {
  for (const [words, told] of [
    ['--timeout 2h', '"2h" is not a duration of at most 60000ms'],
    ['--timeout 0ms', '"0ms" is not a duration of at least 1ms'],
    ['--interval 1000h', '"1000h" is not a duration of at most 86400000ms'],
    ['--interval 1ms', '"1ms" is not a duration of at least 100ms'],
    ['--source eth0', '"eth0" is not an IP address'],
    ['--dscp 64', '"64" is not a whole number from 0 to 63'],
  ] as const)
    it(`${words} exits 2, names the flag and says what is taken`, async () => {
      const { code, stdout, stderr } = await cli(['health', '--nodes', '/nonexistent', ...words.split(' ')]);
      assert.deepEqual([code, stdout], [2, '']);
      assert.ok(stderr.startsWith(`Error: ${words.split(' ')[0]}: ${told}`), stderr);
    });

  it('--every without --watch is told in one line', async () => {
    const { code, stderr } = await cli(['health', 'status', '--every', '2s', '--state-dir', '/nonexistent']);
    assert.deepEqual([code, stderr.split('\n')[0]], [2, 'Error: --every needs --watch']);
  });

  it('--every of a command that watches is no longer than a timer can be', async () => {
    const argv = ['health', 'status', '--watch', '--every', '1000h', '--state-dir', '/nonexistent'];
    const { code, stderr } = await cli(argv);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^Error: --every: "1000h" is not a duration of at most 2147483647ms/);
  });
});
