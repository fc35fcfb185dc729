import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Mesh } from '../../../src/health/mesh/index.ts';
import { healthNode } from '../../../src/health/targets.ts';
import type { HealthCell, RowNote } from '../../../src/model/health.ts';
import { element } from '../fakes.ts';
import { VirtualClock } from '../virtual-clock.ts';

const REACHABLE = 1 << 2;
const UNREACHABLE = 3 << 2;

function cell(peer: string, part: Partial<HealthCell> = {}): HealthCell {
  return { peer, states: { 4: REACHABLE, 6: 0 }, rttNs: 100_000, sent: 60, lost: 0, ...part };
}

function viewOf(...names: string[]) {
  const nodes = names.map((name, i) => healthNode(element(name, `10.0.0.${i + 1}`)));
  return { self: 'n1', nodes, stale: undefined };
}

describe("a node's own row", () => {
  let clock: VirtualClock;
  let cells: Map<string, HealthCell>;
  let notes: RowNote[];
  let mesh: Mesh;

  beforeEach(() => {
    clock = new VirtualClock();
    cells = new Map(['n2', 'n3'].map((peer) => [peer, cell(peer)]));
    notes = [];
    mesh = new Mesh({ clock, cell: (peer) => cells.get(peer), notes: () => notes });
    mesh.follow(viewOf('n1', 'n2', 'n3'), ['n1', 'n2', 'n3']);
    mesh.start();
  });

  const row = () => mesh.matrix().row('n1');
  const told = (peer: string) => row()?.cells.get(peer);

  it('holds all watched peers within five seconds, and not itself', async () => {
    await clock.pass(5000);
    assert.deepEqual([...(row()?.cells.keys() ?? [])].sort(), ['n2', 'n3']);
    assert.deepEqual(told('n2'), cell('n2'));
    assert.equal(mesh.matrix().self, 'n1');
    assert.equal(row()?.incarnation, clock.wallMs() - 5000);
    await mesh.stop();
  });

  it('has a new version every five seconds without news, and no more than that', async () => {
    await clock.pass(10_000);
    const before = row()?.version ?? 0;
    await clock.pass(60_000);
    assert.ok(Math.abs((row()?.version ?? 0) - before - 12) <= 1, `${before} ${row()?.version}`);
    await mesh.stop();
  });

  it('tells of a changed state at once, and of loss within five seconds', async () => {
    await clock.pass(10_000);
    cells.set('n2', cell('n2', { states: { 4: UNREACHABLE, 6: 0 }, lost: 5 }));
    mesh.pathChanged('n2');
    assert.equal(told('n2')?.states[4], UNREACHABLE);
    cells.set('n3', cell('n3', { lost: 1 }));
    await clock.pass(5000);
    assert.equal(told('n3')?.lost, 1);
    await mesh.stop();
  });

  it('tells of a moved round trip, not of a trembling one, and of fewer losses when the cell is old', async () => {
    await clock.pass(20_000);
    cells.set('n2', cell('n2', { rttNs: 120_000 }));
    cells.set('n3', cell('n3', { rttNs: 400_000 }));
    await clock.pass(5000);
    assert.deepEqual([told('n2')?.rttNs, told('n3')?.rttNs], [100_000, 400_000]);
    cells.set('n2', cell('n2', { lost: 3 }));
    await clock.pass(5000);
    cells.set('n2', cell('n2', { lost: 2 }));
    await clock.pass(6000);
    assert.equal(told('n2')?.lost, 3);
    await clock.pass(30_000);
    assert.equal(told('n2')?.lost, 2);
    await mesh.stop();
  });

  it('tells soon that nothing is lost any more', async () => {
    cells.set('n2', cell('n2', { lost: 1 }));
    await clock.pass(5000);
    assert.equal(told('n2')?.lost, 1);
    cells.set('n2', cell('n2', { lost: 0 }));
    await clock.pass(5000);
    assert.equal(told('n2')?.lost, 0);
    await mesh.stop();
  });

  it('takes back what it told of peers that it does not watch any more', async () => {
    await clock.pass(5000);
    mesh.follow(viewOf('n1', 'n2', 'n3'), ['n1', 'n2']);
    assert.deepEqual([...(row()?.cells.keys() ?? [])], ['n2']);
    mesh.follow(viewOf('n1', 'n2'), ['n1', 'n2']);
    assert.equal(mesh.matrix().nodes.length, 2);
    await mesh.stop();
  });

  it('tells of a peer that it only sweeps when that has a fault, and of 64 of them at most', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `s${i}`);
    mesh.follow(viewOf('n1', 'n2', ...names), ['n1', 'n2']);
    for (const name of names) cells.set(name, cell(name));
    for (const name of names) mesh.pathChanged(name);
    assert.equal(row()?.cells.has('s5'), false);
    for (const name of names) cells.set(name, cell(name, { states: { 4: UNREACHABLE, 6: 0 } }));
    for (const name of names) mesh.pathChanged(name);
    assert.equal(row()?.cells.has('s5'), false);
    assert.equal(row()?.cells.has('s99'), true);
    assert.equal([...(row()?.cells.keys() ?? [])].filter((peer) => peer.startsWith('s')).length, 64);
    await mesh.stop();
  });

  it('tells its notes, sixteen at most', async () => {
    const note: RowNote = {
      peer: 'n2',
      kind: 1,
      family: 4,
      fault: 'mtu-black-hole',
      lossPoint: undefined,
      sinceMs: 1,
    };
    notes = Array.from({ length: 20 }, () => note);
    await clock.pass(6000);
    assert.equal(row()?.notes.length, 16);
    await mesh.stop();
  });
});
