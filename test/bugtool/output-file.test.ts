import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { after, describe, it } from 'node:test';
import { openOutputFile, packBugtool, standardOutput } from '../../bugtool/index.ts';
import { agentOf, argv, Scratch, shell } from './support.ts';

describe('the archive’s file', () => {
  const scratch = new Scratch();
  after(() => scratch.remove());

  it('is the owner’s alone, and has its name only when it is whole', async () => {
    const output = await openOutputFile(scratch.file('whole'));
    assert.deepEqual(readdirSync(scratch.path).length, 1);
    assert.ok(!readdirSync(scratch.path).includes('whole'));
    output.stream.end('x');
    await once(output.stream, 'close');
    await output.commit();
    assert.deepEqual(readdirSync(scratch.path), ['whole']);
    assert.equal(statSync(scratch.file('whole')).mode & 0o777, 0o600);
  });

  it('never replaces a file or follows a link, not even one that appears meanwhile', async () => {
    const own = scratch.file('links');
    mkdirSync(own);
    writeFileSync(`${own}/victim`, 'precious');
    symlinkSync(`${own}/victim`, `${own}/link`);
    symlinkSync(`${own}/nowhere`, `${own}/dangling`);
    for (const name of ['victim', 'link', 'dangling'])
      await assert.rejects(openOutputFile(`${own}/${name}`), { code: 'OUTPUT_EXISTS', exitCode: 4 });
    const output = await openOutputFile(`${own}/late`);
    symlinkSync(`${own}/victim`, `${own}/late`);
    output.stream.end('x');
    await once(output.stream, 'close');
    await assert.rejects(output.commit(), { code: 'OUTPUT_EXISTS' });
    assert.equal(readFileSync(`${own}/victim`, 'utf8'), 'precious');
    assert.deepEqual(readdirSync(own).sort(), ['dangling', 'late', 'link', 'victim']);
  });

  it('that cannot be made is an error before anything is collected', async () => {
    await assert.rejects(openOutputFile(scratch.file('none/x')), { code: 'OUTPUT_FAILED', exitCode: 4 });
    await assert.rejects(openOutputFile('/proc/x.tar.gz'), (error: { exitCode?: number }) =>
      [3, 4].includes(error.exitCode ?? 0),
    );
  });

  it('that cannot be written to stops the collectors at once and leaves nothing', async () => {
    const folder = scratch.file('full');
    mkdirSync(folder);
    const output = await openOutputFile(`${folder}/a`);
    const full = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('no space'), { code: 'ENOSPC' })),
    });
    const began = performance.now();
    const noise = Array.from({ length: 4 }, (_, i) =>
      argv(`noise-${i}`, ['head', '-c', '30000000', '/dev/urandom']),
    );
    const packing = packBugtool(
      {
        collectors: [shell('slow', 'sleep 60'), ...noise],
        output: { ...output, stream: full },
        root: 'r',
        node: 'n',
        version: '0',
        stop: new AbortController().signal,
      },
      { agent: agentOf({}) },
    );
    await assert.rejects(packing, { code: 'OUTPUT_FAILED', exitCode: 4 });
    assert.ok(performance.now() - began < 20_000);
    output.stream.destroy();
    assert.deepEqual(readdirSync(folder), []);
  });

  it('may be standard output', async () => {
    const parts: Buffer[] = [];
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        parts.push(chunk);
        done();
      },
    });
    const options = { root: 'r', node: 'n', version: '0', stop: new AbortController().signal };
    const collectors = [argv('a', ['echo', 'x'])];
    await packBugtool({ ...options, collectors, output: standardOutput(stream) }, { agent: agentOf({}) });
    assert.equal(Buffer.concat(parts).readUInt16BE(0), 0x1f8b, 'gzip');
  });
});
