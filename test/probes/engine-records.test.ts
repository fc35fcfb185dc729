import assert from 'node:assert/strict';
import { afterEach, describe, it, mock } from 'node:test';
import { RECORDS_A_BLOCK } from '../../probes/engine/constants.ts';
import { createProbeEngine, type EngineOptions, type ProbeEngine } from '../../probes/engine/index.ts';
import { ProbePrograms } from '../../probes/engine/programs.ts';
import { SystemError } from '../../src/base/errors.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const LOOPBACK = 1;
const PATH = { address: '127.0.0.1', responder: 'icmp', origin: 0, periodMs: 0 } as const;

function noMemory(): never {
  throw new SystemError('cannot make a map: ENOMEM', { code: 'BPF_ENOMEM' });
}

describe('records of probe programs that cannot be had', { skip: bpfOrSkip() }, () => {
  const engines: ProbeEngine[] = [];
  afterEach(async () => {
    mock.restoreAll();
    for (const engine of engines.splice(0)) await engine.stop();
  });

  function make(options: Partial<EngineOptions> = {}): ProbeEngine {
    const pathsMax = 2 * RECORDS_A_BLOCK;
    const engine = createProbeEngine({ origins: [{ devices: [LOOPBACK] }], pathsMax, ...options });
    engines.push(engine);
    return engine;
  }

  it('leave programs out, with the reason, when there are none at the start', () => {
    const add = mock.method(ProbePrograms.prototype, 'addBlock', noMemory);
    const close = mock.method(ProbePrograms.prototype, 'close');
    const engine = make();
    const reason = 'programs get no records: cannot make a map: ENOMEM';
    assert.deepEqual(engine.self().programs, { ready: false, reason });
    assert.deepEqual(engine.self().mode[4], { ready: true, mode: 'raw', note: reason });
    assert.ok(engine.tryOpen(PATH) !== undefined);
    assert.deepEqual([add.mock.callCount(), close.mock.callCount()], [1, 1]);
  });

  it('end an engine that was to be of programs only', () => {
    mock.method(ProbePrograms.prototype, 'addBlock', noMemory);
    assert.throws(() => make({ mode: 'bpf' }), { code: 'ENGINE_RECORDS' });
  });

  it('refuse more paths, tell why once and are not asked for again at once', () => {
    const told: string[] = [];
    const engine = make({ onNoRecords: (reason) => told.push(reason) });
    for (let i = 0; i < RECORDS_A_BLOCK; i++) assert.equal(engine.tryOpen(PATH), i);
    let nowMs = performance.now();
    mock.method(performance, 'now', () => nowMs);
    const add = mock.method(ProbePrograms.prototype, 'addBlock', noMemory);
    for (let i = 0; i < 10; i++) assert.equal(engine.tryOpen(PATH), undefined);
    assert.equal(add.mock.callCount(), 1);
    nowMs += 6000;
    assert.equal(engine.tryOpen(PATH), undefined);
    assert.equal(add.mock.callCount(), 2);
    assert.deepEqual(told, ['cannot make a map: ENOMEM']);
    assert.equal(engine.self().refused, 11);
    engine.close(7);
    assert.equal(engine.tryOpen(PATH), 7);
    add.mock.restore();
    nowMs += 6000;
    assert.equal(engine.tryOpen(PATH), RECORDS_A_BLOCK);
    assert.equal(engine.self().paths, RECORDS_A_BLOCK + 1);
  });
});
