import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatRecord, parseRecord } from '../../src/agent/endpoint-record.ts';
import { ENDPOINT_STATES, mayFollow } from '../../src/agent/endpoint-state.ts';
import { parseLabels } from '../../src/model/labels.ts';
import { endpoint, spec } from './one-endpoint.ts';

describe('the states of an endpoint', () => {
  it('all may end, and nothing comes back from the end', () => {
    for (const state of ENDPOINT_STATES) {
      const ended = state === 'disconnecting' || state === 'disconnected';
      assert.equal(mayFollow(state, 'disconnecting'), !ended, state);
      assert.equal(mayFollow('disconnected', state), false);
    }
  });

  it('refuse a step that cannot follow and stay as they were', () => {
    const one = endpoint();
    assert.throws(() => one.moveTo('ready', 'too early'), { code: 'ENDPOINT_STATE' });
    assert.equal(one.state, 'creating');
  });

  it('are logged, the newest first, at most 256 of them', () => {
    const one = endpoint();
    for (let i = 0; i < 300; i++) one.note(`line ${i}`);
    const log = one.log.newestFirst();
    assert.equal(log.length, 256);
    assert.equal(log[0]?.message, 'line 299');
  });
});

describe('an endpoint record', () => {
  const record = {
    spec,
    labels: parseLabels(['k8s:app=web', 'k8s:empty']),
    options: { Debug: 'Enabled' },
    identity: { id: 300, labels: parseLabels(['k8s:app=web']) },
  };

  it('is read as it was written', () => {
    assert.deepEqual(parseRecord(formatRecord(record), 'f'), record);
  });

  const text = formatRecord(record);
  for (const [what, wrong] of [
    ['a cut file', text.slice(0, 90)],
    ['no object', '[]'],
    ['another version', text.replace('"version": 1', '"version": 2')],
    ['a wrong id', text.replace('"id": 7', '"id": -1')],
    ['a wrong address', text.replace('10.0.1.9', '10.0.1.999')],
    ['a wrong label', text.replace('k8s:app=web', 'bogus:app=web')],
  ] as const) {
    it(`is refused for ${what}`, () => {
      assert.notEqual(wrong, text);
      assert.throws(() => parseRecord(wrong, 'f'));
    });
  }
});
