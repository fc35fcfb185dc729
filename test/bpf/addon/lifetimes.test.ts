import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type BpfMap, type BpfProgram, loadBpf, type RingBuffer } from '../../../bpf/addon/index.ts';
import { rootOrSkip } from '../../support/privilege.ts';
import { codeOf, compileBpf, contextWithMark, loadSample, PACKET, scratchFolder } from './support.ts';

const INDEX = new URL('../../../bpf/addon/index.ts', import.meta.url).href;
const ASSETS = new URL('../../../src/base/assets.ts', import.meta.url).href;
const SUPPORT = new URL('./support.ts', import.meta.url).href;

describe('the ring buffer', { skip: rootOrSkip() }, () => {
  const bpf = loadBpf();
  const scratch = scratchFolder();
  let events: BpfMap;
  let emit: BpfProgram;

  before(() => {
    const { object } = loadSample(bpf, compileBpf('sample', scratch.path));
    events = object.map('events');
    emit = object.program('emit');
  });
  after(() => scratch.remove());

  const rings: RingBuffer[] = [];
  const open = (onRecords: (records: readonly Buffer[]) => void): RingBuffer => {
    const ring = bpf.openRingBuffer(events, onRecords);
    rings.push(ring);
    return ring;
  };
  // An open ring keeps the process alive, also when its test failed.
  afterEach(() => {
    for (const ring of rings.splice(0)) ring.close();
  });

  const send = (count: number, mark = 0): void => {
    // One by one: a signal would start a repeated run anew.
    for (let i = 0; i < count; i++) emit.testRun({ data: PACKET, ctx: contextWithMark(mark) });
  };

  it('gives all that is ready in one call, in order', async () => {
    const rounds: number[][] = [];
    let told = (): void => undefined;
    const arrived = new Promise<void>((resolve) => {
      told = resolve;
    });
    const ring = open((records) => {
      rounds.push(records.map((record) => record.readUInt32LE()));
      told();
    });
    send(1000);
    await arrived;
    assert.equal(rounds.length, 1);
    const [first = -1] = rounds[0] ?? [];
    assert.deepEqual(
      rounds[0],
      Array.from({ length: 1000 }, (_, i) => first + i),
    );
    ring.close();
    ring.close();
    assert.equal(
      codeOf(() => ring.consume()),
      'BPF_CLOSED',
    );
  });

  it('gives what is more than 32 KiB in parts, with a turn of the event loop between them', async () => {
    const rounds: number[] = [];
    let turns = 0;
    let told = (): void => undefined;
    const arrived = new Promise<void>((resolve) => {
      told = resolve;
    });
    const ring = open((records) => {
      rounds.push(records.length);
      if (rounds.length === 1) setImmediate(() => turns++);
      else told();
    });
    send(9_999, 1);
    send(1);
    await arrived;
    // Of 4 bytes each.
    assert.deepEqual([rounds, turns], [[8_192, 1_808], 1]);
    send(10_000, 1);
    assert.equal(ring.consume(), 10_000, 'asked for, all of them come at once');
    ring.close();
  });

  it('wakes up seldom when records come one by one, and reads all of them', async () => {
    const COUNT = 2000;
    let [seen, calls] = [0, 0];
    const ring = open((records) => {
      seen += records.length;
      calls++;
    });
    const begun = performance.now();
    for (let i = 0; i < COUNT; i++) {
      send(1);
      await new Promise((resolve) => setImmediate(resolve));
    }
    while (seen < COUNT) await new Promise((resolve) => setImmediate(resolve));
    const passedMs = performance.now() - begun;
    // A pause is 5 ms, less what the loop's own clock lags behind.
    assert.ok(calls <= 2 + passedMs / 2.5, `${calls} calls in ${passedMs} ms`);
    ring.close();
  });

  it('reads records sent without a wake-up when asked', () => {
    let seen = 0;
    const ring = open((records) => {
      seen += records.length;
    });
    send(5, 1);
    assert.equal(ring.consume(), 5);
    assert.equal(seen, 5);
    assert.equal(ring.consume(), 0);
    ring.close();
  });

  it('may be closed from its own callback, and with records pending', async () => {
    let calls = 0;
    await new Promise<void>((resolve) => {
      const ring = open(() => {
        calls++;
        ring.close();
        resolve();
      });
      send(3);
    });
    const pending = open(() => {
      calls++;
    });
    send(3);
    pending.close();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(calls, 1);
  });

  it('takes only ring buffers', () => {
    const hash = bpf.createMap({ type: 1, name: 'hash', keySize: 4, valueSize: 4, maxEntries: 1 });
    assert.equal(
      codeOf(() => bpf.openRingBuffer(hash, () => undefined)),
      'BPF_ARGUMENT',
    );
  });
});

/** Each is run in a process of its own, which must end by itself with exit 0 and say `fine`. */
describe('what libbpf said on a thread', () => {
  it('is freed with the thread, though nobody took it', async () => {
    const source = `const { loadAddon } = await import(process.env.ASSETS);
      loadAddon('bpf.node').objectOpen(process.execPath);`;
    const script = `
      import { once } from 'node:events';
      import { readFileSync } from 'node:fs';
      import { Worker } from 'node:worker_threads';
      const mebibytes = () => Number(/^VmData:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
      const run = async () => {
        const worker = new Worker(new URL(process.env.WORKER));
        await once(worker, 'exit');
      };
      await run();
      const before = mebibytes();
      for (let i = 0; i < 40; i++) await run();
      console.log(mebibytes() - before);`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 30_000,
      env: { ...process.env, ASSETS, WORKER: `data:text/javascript,${encodeURIComponent(source)}` },
    });
    // A buffer is 1 MiB; 40 threads that kept theirs would hold 40 of them.
    const grown = Number(stdout);
    assert.ok(stdout !== '' && grown < 20, `${stdout} MiB`);
  });
});

describe('a reader of the ring buffer that runs short of memory', { skip: rootOrSkip() }, () => {
  const scratch = scratchFolder();
  after(() => scratch.remove());

  it('hands over what it holds and says how many records it lost', async () => {
    const library = join(scratch.path, 'short-of-memory.so');
    const source = join(import.meta.dirname, 'short-of-memory.c');
    await promisify(execFile)('cc', ['-O1', '-shared', '-fPIC', '-o', library, source, '-ldl']);
    const script = join(scratch.path, 'short.ts');
    writeFileSync(
      script,
      `import { loadBpf } from ${JSON.stringify(INDEX)};
      import { contextWithMark, loadSample, PACKET } from ${JSON.stringify(SUPPORT)};
      const bpf = loadBpf();
      const { object } = loadSample(bpf, ${JSON.stringify(compileBpf('sample', scratch.path))});
      const emit = object.program('emit');
      const rounds: number[][] = [];
      const ring = bpf.openRingBuffer(object.map('events'), (records, lost) => {
        rounds.push([records.length, records.at(-1)?.readUInt32LE() ?? -1, lost]);
      });
      for (const count of [1000, 3]) {
        for (let i = 0; i < count; i++) emit.testRun({ data: PACKET, ctx: contextWithMark(1) });
        ring.consume();
      }
      ring.close();
      console.log(JSON.stringify(rounds));`,
    );
    const { stdout } = await promisify(execFile)(process.execPath, [script], {
      timeout: 20_000,
      env: { ...process.env, LD_PRELOAD: library },
    });
    const [first = [], second] = JSON.parse(stdout) as number[][];
    const [kept = 0, last, lost] = first;
    assert.ok(kept > 0 && kept < 1000, `${kept} kept`);
    assert.deepEqual([last, lost], [kept - 1, 1000 - kept]);
    assert.deepEqual(second, [3, 1002, 0]);
  });
});

const STAGES: Readonly<Record<string, string>> = {
  'before anything was opened': ``,
  'with an object open': `bpf.openObject(sample);`,
  'with an object loaded': `loadSample(bpf, sample);`,
  'with a ring buffer polling': `
    const { object } = loadSample(bpf, sample);
    bpf.openRingBuffer(object.map('events'), () => undefined);
    setImmediate(() => { console.log('fine'); process.exit(0); });`,
  'with a ring buffer closing': `
    const { object } = loadSample(bpf, sample);
    bpf.openRingBuffer(object.map('events'), () => undefined).close();`,
  'by itself once the ring buffer is closed': `
    const { object } = loadSample(bpf, sample);
    const ring = bpf.openRingBuffer(object.map('events'), () => ring.close());
    object.program('emit').testRun({ data: PACKET, repeat: 2 });`,
  'with a map read by another thread': `
    const map = bpf.createMap({ type: 1, name: 'read', keySize: 4, valueSize: 4, maxEntries: 1 << 20, flags: 1 });
    void map.batchesAsync().next();
    setImmediate(() => { console.log('fine'); process.exit(0); });`,
  'with a map closed while another thread reads it': `
    const map = bpf.createMap({ type: 1, name: 'read', keySize: 4, valueSize: 4, maxEntries: 1 << 20, flags: 1 });
    const read = map.batchesAsync().next();
    map.close();
    if ((await read).done !== true) throw new Error('it was empty');`,
  'after collecting everything that nobody holds': `
    for (let i = 0; i < 300; i++) bpf.createMap({ type: 1, name: 'gc', keySize: 4, valueSize: 4, maxEntries: 1 });
    loadSample(bpf, sample);
    const before = readdirSync('/proc/self/fd').length;
    gc(); await new Promise((resolve) => setImmediate(resolve)); gc();
    const after = readdirSync('/proc/self/fd').length;
    if (after > before - 300) throw new Error('descriptors left: ' + before + ' then ' + after);`,
  'in a worker that ends while its ring buffer polls': `
    if (isMainThread) {
      const worker = new Worker(new URL(import.meta.url));
      await new Promise((resolve, reject) => { worker.on('exit', resolve); worker.on('error', reject); });
    } else {
      const { object } = loadSample(bpf, sample);
      bpf.openRingBuffer(object.map('events'), () => undefined);
      setImmediate(() => process.exit(0));
    }`,
  'in a worker that is terminated': `
    if (isMainThread) {
      const worker = new Worker(new URL(import.meta.url));
      await new Promise((resolve) => worker.on('message', resolve));
      await worker.terminate();
    } else {
      const { object } = loadSample(bpf, sample);
      bpf.openRingBuffer(object.map('events'), () => undefined);
      object.program('emit').testRun({ data: PACKET, repeat: 2 });
      parentPort.postMessage('open');
    }`,
};

describe('the environment ends cleanly', { skip: rootOrSkip() }, () => {
  const scratch = scratchFolder();
  let sample = '';
  before(() => {
    sample = compileBpf('sample', scratch.path);
  });
  after(() => scratch.remove());

  for (const [stage, body] of Object.entries(STAGES)) {
    it(stage, async () => {
      const script = join(scratch.path, `${stage.replaceAll(' ', '-')}.ts`);
      const lines = [
        `import { readdirSync } from 'node:fs';`,
        `import { isMainThread, parentPort, Worker } from 'node:worker_threads';`,
        `import { loadBpf } from ${JSON.stringify(INDEX)};`,
        `import { loadSample, PACKET } from ${JSON.stringify(SUPPORT)};`,
        `const sample = ${JSON.stringify(sample)};`,
        `const bpf = loadBpf();`,
        body,
        `if (isMainThread) console.log('fine');`,
      ];
      writeFileSync(script, lines.join('\n'));
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script], {
        timeout: 20_000,
      });
      assert.match(stdout, /fine/);
    });
  }
});
