import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createProbeEngine } from '../../probes/engine/index.ts';
import { run } from '../../src/base/run.ts';
import { openSockets } from '../support/open-sockets.ts';
import { rawSocketOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';

const INDEX = new URL('../../probes/engine/index.ts', import.meta.url).href;
/** Exit code of a child that did all it was to do. */
const DONE = 42;

/** Probers' threads of this process. */
function probers(): number {
  return readdirSync('/proc/self/task').filter((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').startsWith('ciliate-prober');
    } catch (error) {
      assert.ok(error instanceof Error && 'code' in error);
      return false;
    }
  }).length;
}

/** A module that makes an engine and goes as far with it as `steps` says. */
function source(steps: string): string {
  return `
    import { createProbeEngine } from ${JSON.stringify(INDEX)};
    const make = () => createProbeEngine({ origins: [{}], mode: 'raw', pathsMax: 256, flows: 2 });
    const open = (of, address = '127.0.0.1') => of.open({ address, responder: 'icmp', origin: 0, periodMs: 5 });
    const engine = make();
    engine.onEvents((events) => globalThis.onEvents?.(events));
    ${steps}
  `;
}

const MANY = `for (let i = 1; i < 200; i++) open(engine, '127.0.0.' + i);`;
/** Where the end comes, and how. */
const ENDS: Readonly<Record<string, string>> = {
  'before the start': `process.exit(${DONE});`,
  'right after the start': `await engine.start(); process.exit(${DONE});`,
  'with commands that were not handed over': `await engine.start(); ${MANY} process.exit(${DONE});`,
  'amid probes': `await engine.start(); ${MANY} setTimeout(() => process.exit(${DONE}), 100);`,
  'in the call that tells events': `globalThis.onEvents = () => process.exit(${DONE}); await engine.start(); ${MANY} setInterval(() => 0, 1000);`,
  'by an error in the call that tells events': `
    process.on('uncaughtException', (error) => process.exit(error.message === 'mine' ? ${DONE} : 1));
    globalThis.onEvents = () => { throw new Error('mine'); };
    await engine.start(); ${MANY} setInterval(() => 0, 1000);`,
  'by itself, as an engine keeps no process alive': `await engine.start(); ${MANY} process.exitCode = ${DONE};`,
  'after a stop in the call that tells events': `
    globalThis.onEvents = () => void engine.stop().then(() => engine.stop()).then(() => { process.exitCode = ${DONE}; clearInterval(timer); });
    const timer = setInterval(() => 0, 1000);
    await engine.start(); ${MANY}`,
  'when engines were forgotten and collected, some of them running': `
    for (let i = 0; i < 20; i++) {
      const other = make();
      if (i % 2) { await other.start(); open(other); }
      if (i % 4 === 3) await other.stop();
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    process.exit(${DONE});`,
};

describe('the life of a probe engine', { skip: rawSocketOrSkip() }, () => {
  for (const [when, steps] of Object.entries(ENDS)) {
    it(`ends with its process: ${when}`, async () => {
      const argv = [process.execPath, '--expose-gc', '--input-type=module', '--eval', source(steps)];
      const { exitCode, stderr } = await run(argv, { timeoutMs: 30_000 });
      assert.equal(exitCode, DONE, stderr);
    });
  }

  for (const [when, steps] of [
    ['made', ''],
    ['started', 'await engine.start();'],
    ['probing', `await engine.start(); ${MANY}`],
    ['stopped', `await engine.start(); ${MANY} await engine.stop();`],
  ] as const) {
    it(`ends with the thread of JavaScript that has it, and leaves no thread and no socket: ${when}`, async () => {
      const before = openSockets();
      const text = `import { parentPort } from 'node:worker_threads'; ${source(steps)} setInterval(() => 0, 1000); parentPort.postMessage('up');`;
      for (let i = 0; i < 2; i++) {
        const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`));
        await once(worker, 'message');
        // A few turns of the prober, or none.
        if (i % 2) await new Promise((resolve) => setTimeout(resolve, 50));
        await worker.terminate();
      }
      await until(() => probers() === 0);
      assert.ok(openSockets() <= before + 1, `${openSockets()} sockets, ${before} before`);
    });
  }

  it('is one of several, in several threads at once, that know nothing of each other', async () => {
    const engine = createProbeEngine({ origins: [{}], mode: 'raw', pathsMax: 16, flows: 2 });
    await engine.start();
    const text = `import { parentPort } from 'node:worker_threads'; ${source(`await engine.start(); ${MANY}`)} parentPort.postMessage('up'); setInterval(() => 0, 1000);`;
    const workers = Array.from(
      { length: 3 },
      () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`)),
    );
    const path = engine.open({ address: '127.0.0.1', responder: 'icmp', origin: 0, periodMs: 5 });
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    assert.equal(probers(), 4);
    await Promise.all(workers.map((worker) => worker.terminate()));
    await until(() => probers() === 1);
    const { answered } = engine.counts(path);
    await until(() => engine.counts(path).answered >= answered + 5);
    const { lost, duplicate } = engine.counts(path);
    assert.deepEqual([lost, duplicate], [0, 0]);
    await engine.stop();
    assert.equal(probers(), 0);
  });
});
