import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readArchive, Scratch } from './support.ts';

const LAUNCHER = fileURLToPath(new URL('../../bin/ciliate', import.meta.url));

interface Ended {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe('ciliate bugtool', () => {
  const scratch = new Scratch();
  after(() => scratch.remove());
  const nowhere = ['--state-dir', scratch.file('state'), '--bpf-dir', scratch.file('bpf')];

  const start = (...words: readonly string[]): ChildProcess =>
    spawn(LAUNCHER, ['bugtool', ...nowhere, ...words], {
      cwd: scratch.path,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CILIATE_FROM_SOURCE: '1', CILIATE_SOCK: '', CILIATE_HEALTH_SOCK: '' },
    });
  const ended = async (child: ChildProcess): Promise<Ended> => {
    let [stdout, stderr] = ['', ''];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [exit] = (await once(child, 'close')) as [number | null];
    return { exit, stdout, stderr };
  };

  it('works with the agent dead: exit 5, the reason once, host state complete', async () => {
    const archive = scratch.file('dead.tar.gz');
    const { exit, stdout, stderr } = await ended(
      start('-o', archive, '--include', 'api', '--include', 'host/ip-*'),
    );
    assert.equal(exit, 5, stderr);
    assert.equal(stdout, '');
    assert.equal(stderr.match(/the agent does not answer/g)?.length, 1);
    assert.match(stderr, /\d+ ok, \d+ skipped; /);
    assert.ok(stderr.endsWith(`archive: ${archive}\n`));
    const { report, files } = readArchive(archive, scratch.file('dead'));
    assert.equal(report('host/ip-addr').outcome, 'ok');
    assert.equal(report('api/policy').outcome, 'skipped');
    assert.match(String(files.get('host/ip-addr.txt')), /127\.0\.0\.1/);
  });

  it('exits 0 when all that was asked is there, and names the file itself by default', async () => {
    const { exit, stderr } = await ended(start('--include', 'kernel/version'));
    assert.equal(exit, 0, stderr);
    const [made] = readdirSync(scratch.path).filter((name) => name.startsWith('ciliate-bugtool-'));
    assert.match(made ?? '', /^ciliate-bugtool-.*-\d{8}-\d{6}\.tar\.gz$/);
  });

  it('streams to standard output, words to standard error', async () => {
    const archive = scratch.file('stdout.tar.gz');
    const child = start('-o', '-', '--include', 'kernel');
    child.stdout?.pipe(createWriteStream(archive));
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [exit] = await once(child, 'close');
    assert.equal(exit, 0, stderr);
    assert.ok(readArchive(archive, scratch.file('stdout')).files.has('kernel/sysctl.txt'));
  });

  it('leaves a readable archive after Ctrl-C, exit 5', async () => {
    const archive = scratch.file('cut.tar.gz');
    const child = start('-o', archive);
    const result = ended(child);
    // The first word on stderr says that collecting has begun.
    await once(child.stderr ?? child, 'data');
    child.kill('SIGINT');
    const { exit, stderr } = await result;
    assert.equal(exit, 5, stderr);
    assert.match(stderr, /interrupted/);
    assert.equal(readArchive(archive, scratch.file('cut')).manifest.interrupted, true);
  });

  it('lists without collecting', async () => {
    const before = readdirSync(scratch.path).length;
    const { exit, stdout } = await ended(start('--list'));
    assert.equal(exit, 0);
    assert.match(stdout, /^host\/ip-addr\tip -details address show$/m);
    assert.match(stdout, /^api\/policy\tskipped: the agent does not answer/m);
    assert.equal(readdirSync(scratch.path).length, before);
  });

  it('says what is wrong with the target or the words', async () => {
    writeFileSync(scratch.file('there'), 'x');
    const there = await ended(start('-o', scratch.file('there')));
    assert.deepEqual([there.exit, /exists/.test(there.stderr)], [4, true], there.stderr);
    assert.equal((await ended(start('-o', scratch.file('none/x')))).exit, 4);
    assert.equal((await ended(start('--include', 'hots'))).exit, 2);
    assert.equal((await ended(start('--timeout', 'soon'))).exit, 2);
  });

  it('runs nothing that lies in the working directory', async () => {
    const canary = scratch.file('canary');
    writeFileSync(scratch.file('.cilium-bugtool.config'), `{"Commands":["touch ${canary}"]}`);
    writeFileSync(scratch.file('ip'), `#!/bin/sh\ntouch ${canary}\n`, { mode: 0o755 });
    const { exit } = await ended(start('-o', scratch.file('cwd.tar.gz'), '--include', 'host/ip-addr'));
    assert.equal(exit, 0);
    assert.equal(existsSync(canary), false);
  });
});
