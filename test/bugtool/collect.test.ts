import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { agentOf, argv, pack, Scratch, shell } from './support.ts';

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

describe('collectors that run programs', () => {
  const scratch = new Scratch();
  after(() => scratch.remove());

  it('record exit, size, digest and output', async () => {
    const { manifest, files, report } = await pack(scratch, [
      argv('fine', ['echo', 'hello']),
      shell('sad', 'echo half; echo why >&2; exit 3'),
      argv('silent', ['true']),
    ]);
    assert.equal(String(files.get('fine.txt')), 'hello\n');
    assert.deepEqual([report('fine').outcome, report('fine').exit, report('fine').bytes], ['ok', 0, 6]);
    assert.equal(String(files.get('sad.txt')), 'half\n', 'what a failed program said is kept');
    assert.deepEqual(
      [report('sad').outcome, report('sad').exit, report('sad').stderr],
      ['failed', 3, 'why\n'],
    );
    assert.equal(files.get('silent.txt')?.length, 0, 'nothing is an answer too');
    assert.deepEqual([manifest.complete, manifest.counts.ok, manifest.counts.failed], [false, 2, 1]);
  });

  it('end with their whole process group at the deadline, also when they ignore SIGTERM', async () => {
    const pids = scratch.file('pids');
    const line = `trap '' TERM; echo partial; sh -c 'trap "" TERM; echo $$ >> ${pids}; sleep 60' & echo $$ >> ${pids}; wait; sleep 60`;
    const began = performance.now();
    const { report, files } = await pack(scratch, [shell('stubborn', line, { deadlineMs: 300 })]);
    assert.equal(report('stubborn').outcome, 'timeout');
    assert.match(report('stubborn').reason ?? '', /300 ms/);
    assert.equal(String(files.get('stubborn.txt')), 'partial\n');
    assert.ok(performance.now() - began < 10_000);
    const left = readFileSync(pids, 'utf8').trim().split('\n').map(Number).filter(isAlive);
    assert.deepEqual(left, []);
  });

  it('do not wait for what they left running', async () => {
    const pids = scratch.file('orphans');
    const began = performance.now();
    const { report } = await pack(scratch, [shell('orphans', `sleep 60 & echo $! > ${pids}; echo done`)]);
    assert.equal(report('orphans').outcome, 'ok');
    assert.ok(performance.now() - began < 10_000);
    assert.equal(isAlive(Number(readFileSync(pids, 'utf8'))), false);
  });

  it('are cut at their cap, split into parts, with memory bounded', async () => {
    const big = argv('big', ['head', '-c', '100000000', '/dev/zero'], { capBytes: 10 << 20 });
    const before = process.memoryUsage().rss;
    const { report, files, manifest } = await pack(scratch, [big]);
    assert.equal(report('big').outcome, 'truncated');
    assert.equal(report('big').bytes, 10 << 20);
    assert.deepEqual(
      report('big').files.map(({ path }) => path),
      ['big.txt', 'big.txt.part002', 'big.txt.part003'],
    );
    assert.equal(files.get('big.txt')?.length, 4 << 20);
    assert.equal(manifest.complete, false);
    assert.ok(process.memoryUsage().rss - before < 150 << 20);
  });

  it('tell a missing tool from a failure, and an optional one makes nothing partial', async () => {
    const { report, manifest } = await pack(scratch, [
      argv('gone', ['ciliate-no-such-tool'], { optional: true }),
    ]);
    assert.equal(report('gone').outcome, 'missing-tool');
    assert.equal(manifest.complete, true);
    const needed = await pack(scratch, [argv('gone', ['ciliate-no-such-tool'])]);
    assert.equal(needed.manifest.complete, false);
  });

  it('see nothing of our environment and never a shell', async () => {
    process.env.CILIATE_TEST_SECRET = 'hunter2';
    const { files } = await pack(scratch, [
      argv('env', ['env']),
      argv('words', ['echo', '$(id)', ';', '`id`']),
    ]);
    delete process.env.CILIATE_TEST_SECRET;
    assert.doesNotMatch(String(files.get('env.txt')), /hunter2|HOME/);
    assert.equal(String(files.get('words.txt')), '$(id) ; `id`\n');
  });
});

describe('collectors of files, trees and the API', () => {
  const scratch = new Scratch();
  after(() => scratch.remove());

  it('keep the end of a log that is too long, and say how much is missing', async () => {
    writeFileSync(scratch.file('log'), `${'old\n'.repeat(1000)}new\n`);
    const { files, report } = await pack(scratch, [
      { kind: 'file', id: 'log', path: 'log', file: scratch.file('log'), capBytes: 8 },
    ]);
    assert.equal(String(files.get('log')), 'old\nnew\n');
    assert.deepEqual(
      [report('log').outcome, report('log').reason],
      ['truncated', 'the first 3996 bytes are left out'],
    );
  });

  it('read what /proc has, and name what it refuses', async () => {
    const { files, report } = await pack(scratch, [
      { kind: 'tree', id: 'sysctl', path: 'sysctl', roots: ['/proc/sys/net/core'] },
      { kind: 'file', id: 'none', path: 'none', file: '/nonexistent' },
    ]);
    assert.match(String(files.get('sysctl')), /^\/proc\/sys\/net\/core\/somaxconn = \d+$/m);
    assert.deepEqual([report('none').outcome, report('none').reason], ['skipped', 'it does not exist']);
  });

  it('keep bodies as they came, and give up on an agent that hangs', async () => {
    const agent = agentOf({ '/policy': '{"revision":7}' });
    const hang = {
      ...agent,
      raw: (path: string) => (path === '/hang' ? new Promise<string>(() => undefined) : agent.raw(path)),
    };
    const { files, report } = await pack(
      scratch,
      [
        { kind: 'api', id: 'policy', path: 'policy.json', apiPath: '/policy' },
        { kind: 'api', id: 'hang', path: 'hang.json', apiPath: '/hang', deadlineMs: 100 },
        { kind: 'api', id: 'bad', path: 'bad.json', apiPath: '/bad' },
      ],
      { agent: hang },
    );
    assert.equal(String(files.get('policy.json')), '{"revision":7}');
    assert.equal(report('hang').outcome, 'timeout');
    assert.deepEqual([report('bad').outcome, report('bad').reason], ['failed', 'no /bad']);
    assert.equal(files.has('bad.json'), false);
  });
});

describe('a run that is stopped', () => {
  const scratch = new Scratch();
  after(() => scratch.remove());

  it('keeps what was collected, and says what was not', async () => {
    const stop = new AbortController();
    const collectors = [
      argv('first', ['echo', 'kept']),
      ...Array.from({ length: 8 }, (_, i) => shell(`slow-${i}`, 'echo begun; sleep 60')),
    ];
    setTimeout(() => stop.abort(), 400);
    const { manifest, files, report } = await pack(scratch, collectors, { stop: stop.signal });
    assert.equal(String(files.get('first.txt')), 'kept\n');
    assert.equal(String(files.get('slow-0.txt')), 'begun\n');
    assert.equal(report('slow-7').reason, 'the run was stopped before it began');
    assert.deepEqual(
      [manifest.interrupted, manifest.complete, manifest.counts.interrupted],
      [true, false, 8],
    );
  });
});
