import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Outcome } from '../../probes/icmp/constants.ts';
import { OutcomeBatch } from '../../probes/icmp/outcome-batch.ts';
import { ProbeTable } from '../../probes/icmp/probe-table.ts';

const TIMEOUT_NS = 1000;

function outcomes(batch: OutcomeBatch): [number, number, number][] {
  const list = Array.from({ length: batch.count }, (_, i): [number, number, number] => [
    batch.kind[i] ?? -1,
    batch.path[i] ?? -1,
    batch.latencyNs[i] ?? -1,
  ]);
  batch.clear();
  return list;
}

function sent(table: ProbeTable, path: number, sentNs: number): number {
  const sequence = table.add(path, sentNs);
  table.taken(sequence, 1);
  return sequence;
}

describe('the table of probes under way', () => {
  it('times a reply from stamp to stamp', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 5, 100);
    table.stamp(0, 110);
    assert.equal(table.reply(5, sequence, 150, 64, batch), true);
    assert.equal(batch.stamped[0], 1);
    assert.deepEqual(outcomes(batch), [[Outcome.reply, 5, 40]]);
  });

  it('falls back to the send call, and says so, where the kernel gave no stamp', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 5, 100);
    table.reply(5, sequence, 150, 64, batch);
    assert.equal(batch.stamped[0], 0);
    assert.deepEqual(outcomes(batch), [[Outcome.reply, 5, 50]]);
  });

  it('ignores a stamp from before the send call: it is of another packet', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 5, 100);
    table.stamp(0, 90);
    table.reply(5, sequence, 150, 64, batch);
    assert.equal(batch.stamped[0], 0);
  });

  it('tells a second reply as a duplicate and keeps the first', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 1, 0);
    table.reply(1, sequence, 10, 64, batch);
    table.reply(1, sequence, 20, 64, batch);
    assert.deepEqual(
      outcomes(batch).map(([kind]) => kind),
      [Outcome.reply, Outcome.duplicate],
    );
  });

  it('ends a probe once by timeout and tells its reply afterwards as late', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 1, 0);
    table.expire(TIMEOUT_NS - 1, batch);
    assert.deepEqual(outcomes(batch), []);
    table.expire(TIMEOUT_NS + 1, batch);
    table.expire(TIMEOUT_NS + 2, batch);
    table.reply(1, sequence, 1500, 64, batch);
    assert.deepEqual(
      outcomes(batch).map(([kind]) => kind),
      [Outcome.timeout, Outcome.late],
    );
  });

  it('believes the stamps, not the time of reading: a reply in time counts even when read late', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 1, 0);
    table.stamp(0, 0);
    // Read at 50_000, but stamped at 900.
    table.reply(1, sequence, 900, 64, batch);
    table.expire(50_000, batch);
    assert.deepEqual(outcomes(batch), [[Outcome.reply, 1, 900]]);
  });

  it('counts a reply that the stamps show as too slow as lost and late', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 1, 0);
    table.stamp(0, 0);
    table.reply(1, sequence, 1200, 64, batch);
    assert.deepEqual(
      outcomes(batch).map(([kind]) => kind),
      [Outcome.timeout, Outcome.late],
    );
  });

  it('counts reordering by path', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const [first, other, second] = [sent(table, 1, 0), sent(table, 2, 0), sent(table, 1, 0)];
    table.reply(1, second, 10, 64, batch);
    table.reply(2, other, 11, 64, batch);
    assert.equal(table.reordered, 0);
    table.reply(1, first, 12, 64, batch);
    assert.equal(table.reordered, 1);
  });

  it('does not accept the right sequence on another path', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 1, 0);
    assert.equal(table.reply(2, sequence, 10, 64, batch), false);
    assert.deepEqual(
      outcomes(batch).map(([kind]) => kind),
      [Outcome.late],
    );
  });

  it('has room again when probes end, and never overwrites one that waits', () => {
    const [table, batch] = [new ProbeTable(4, TIMEOUT_NS), new OutcomeBatch()];
    for (let i = 0; i < 4; i++) sent(table, 1, i);
    assert.equal(table.room, 0);
    table.expire(TIMEOUT_NS + 1, batch);
    assert.equal(table.room, 2);
  });

  it('finds a probe by the 16 bits that a short ICMP error quotes', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const sequence = sent(table, 3, 0);
    assert.equal(
      table.findShort(sequence & 0xffff, () => true),
      sequence,
    );
    assert.equal(
      table.findShort(sequence & 0xffff, (path) => path === 99),
      undefined,
    );
    assert.equal(
      table.findShort(77, () => true),
      undefined,
    );
    assert.equal(table.fail(sequence, Outcome.icmpError, 0, batch), true);
    assert.equal(
      table.findShort(sequence & 0xffff, () => true),
      undefined,
    );
    assert.equal(table.fail(sequence, Outcome.icmpError, 0, batch), false);
  });

  it('takes back probes that the kernel did not take', () => {
    const [table, batch] = [new ProbeTable(8, TIMEOUT_NS), new OutcomeBatch()];
    const first = table.add(1, 0);
    table.add(2, 0);
    table.retract(1);
    table.taken(first, 1);
    assert.equal(table.window, 1);
    table.expire(TIMEOUT_NS + 1, batch);
    assert.deepEqual(
      outcomes(batch).map(([kind, path]) => [kind, path]),
      [[Outcome.timeout, 1]],
    );
  });
});
