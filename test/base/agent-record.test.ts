import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { readAgentRecord, writeAgentRecord } from '../../src/base/agent-record.ts';

const folder = mkdtempSync(join(tmpdir(), 'ciliate-record-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const record = { nodeName: 'n1', bpfDir: '/bpf/n1', pid: 42, startedAt: '2026-01-01T00:00:00.000Z' };

describe('the record of an agent', () => {
  it('is read as it was written', () => {
    writeAgentRecord(folder, record);
    assert.deepEqual(readAgentRecord(folder), record);
  });

  for (const text of ['', '{', 'null', '[]', '{"bpfDir":"/x"}', JSON.stringify({ ...record, bpfDir: 'x' })]) {
    it(`is no record when the file holds ${JSON.stringify(text)}`, () => {
      writeFileSync(join(folder, 'agent.json'), text);
      assert.equal(readAgentRecord(folder), undefined);
    });
  }

  it('is none where no agent ever ran', () => {
    assert.equal(readAgentRecord('/nonexistent'), undefined);
  });
});
