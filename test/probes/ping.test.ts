import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packageRoot } from '../../src/base/assets.ts';
import { NetnsLab } from '../support/netns.ts';
import { asNobody, rootOrSkip } from '../support/privilege.ts';

const MAIN = join(packageRoot(), 'bin', 'main.ts');

describe('ciliate ping', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('p');
  let here = '';

  before(async () => {
    here = await lab.namespace('a');
    const there = await lab.namespace('b');
    await lab.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { name: 'eth0', netns: there, addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
  });
  after(() => lab.cleanUp());

  const ping = (
    words: readonly string[],
    as: (argv: readonly string[]) => readonly string[] = (argv) => argv,
  ) => lab.exec(here, as([process.execPath, MAIN, 'ping', ...words]));

  it('prints a line for each reply and a summary for each host, and exits 0', async () => {
    const { stdout, stderr, exitCode } = await ping(['10.1.0.2', 'fd01::2', '-c', '2', '-i', '20ms']);
    assert.equal(exitCode, 0, stderr);
    for (const index of [0, 1]) {
      assert.match(stdout, new RegExp(`^10\\.1\\.0\\.2 : \\[${index}\\], 64 bytes, [\\d.]+[µm]s$`, 'm'));
    }
    assert.match(stdout, /^fd01::2 +: sent\/received\/loss = 2\/2\/0%, min\/avg\/p50\/p99\/max = /m);
    assert.equal(stderr, '');
  });

  it('exits 1 when a host does not answer, and says so of that host only', async () => {
    const { stdout, exitCode } = await ping(['10.1.0.2', '10.1.0.3', '-c', '1', '-t', '100ms', '-q']);
    assert.equal(exitCode, 1);
    assert.match(stdout, /^10\.1\.0\.2 : sent\/received\/loss = 1\/1\/0%/m);
    assert.match(stdout, /^10\.1\.0\.3 : sent\/received\/loss = 1\/0\/100%, last: timed out$/m);
  });

  it('writes one JSON object where asked', async () => {
    const { stdout, exitCode } = await ping(['10.1.0.2', '-c', '3', '-f', '-o', 'json']);
    assert.equal(exitCode, 0);
    const { modes, hosts } = JSON.parse(stdout) as {
      modes: Record<string, string>;
      hosts: { received: number; latency_ns: { min: number; p50: number; max: number } }[];
    };
    assert.equal(modes.ipv4, 'raw');
    assert.equal(hosts[0]?.received, 3);
    const { min = 0, p50 = 0, max = 0 } = hosts[0]?.latency_ns ?? {};
    assert.ok(min > 0 && min <= p50 && p50 <= max);
  });

  it('exits 2 on wrong words, with the reason on stderr', async () => {
    for (const [words, why] of [
      [[], /no host/],
      [['10.1.0.2', '-c', 'many'], /whole number/],
      [['10.1.0.2', '-i', 'soon'], /duration/],
      [['10.1.0.2', '--size', '3'], /24/],
    ] as const) {
      const { stdout, stderr, exitCode } = await ping(words);
      assert.equal(exitCode, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, why);
    }
  });

  it('exits 3 where ICMP is not permitted, with the remedy', async () => {
    await lab.sysctl(here, 'net.ipv4.ping_group_range=1 0');
    const { stderr, exitCode } = await ping(['10.1.0.2', '-c', '1'], asNobody);
    assert.equal(exitCode, 3, stderr);
    assert.match(stderr, /ping_group_range/);
  });
});
