import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NodeDirectory } from '../../../src/health/mesh/index.ts';
import { encodeHave, PatchWriter } from '../../../src/health/mesh/row-codec.ts';
import type { RowPatch } from '../../../src/health/mesh/row-store.ts';
import type { RowNote } from '../../../src/model/health.ts';
import { Random } from '../../support/random.ts';
import { MeshSimulation } from './mesh-simulation.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1e9);

function simulate(nodes: number, lossOneIn = 0): MeshSimulation {
  return new MeshSimulation({ nodes, watched: 8, random: new Random(seed), lossOneIn });
}

/** Time until every living node knows what a watcher has noticed. */
function untilKnown(sim: MeshSimulation, watcher: string, name: string): Promise<number> {
  let rest = sim.living;
  const known = (): boolean => {
    rest = rest.filter((node) => !sim.knows(node, watcher, name));
    return rest.length === 0;
  };
  return sim.until(`SEED=${seed}: all know`, known);
}

/** Time until every living node knows so many notes of a node. */
function untilNoted(sim: MeshSimulation, name: string, count: number): Promise<number> {
  const known = (): boolean =>
    sim.living.every(({ mesh }) => mesh.matrix().row(name)?.notes.length === count);
  return sim.until(`SEED=${seed}: all know the notes`, known);
}

/** What a node says of itself. */
const ofItself = (peer: string): RowNote => {
  return { peer, kind: 1, family: 4, fault: 'policy-drop', lossPoint: undefined, sinceMs: 1 };
};

const whole = (sim: MeshSimulation) => (): boolean => sim.informed() === sim.living.length;

describe('nodes that exchange rows', () => {
  it('all hold all rows soon, though one message of ten gets lost', async () => {
    const sim = simulate(64, 10);
    const took = await sim.until(`SEED=${seed}: all rows`, whole(sim), 500);
    assert.ok(took <= 60_000, `SEED=${seed}: ${took} ms`);
    await sim.stop();
  });

  it('know a death within 300 ms of the first who notices, and keep the row of the dead', async () => {
    const sim = simulate(200);
    await sim.until('all rows', whole(sim), 500);
    await sim.kill('n7');
    await sim.clock.pass(1000);
    const [watcher] = sim.watchersOf('n7');
    assert.ok(watcher !== undefined);
    sim.notice(watcher, 'n7');
    const took = await untilKnown(sim, watcher.name, 'n7');
    assert.ok(took <= 300, `SEED=${seed}: ${took} ms`);
    await sim.clock.pass(60_000);
    for (const { mesh } of sim.living) {
      const matrix = mesh.matrix();
      assert.equal(matrix.row('n7')?.cells.size, 8);
      assert.ok((matrix.ageMs('n7') ?? 0) >= 40_000);
      assert.ok((matrix.ageMs('n8') ?? Number.POSITIVE_INFINITY) < 40_000);
    }
    await sim.stop();
  });

  it('keep the row of one that nobody can ask, and know at once of a death that it notices', async () => {
    const sim = simulate(64);
    await sim.until('all rows', whole(sim), 500);
    const deaf = sim.node('n7');
    deaf.deaf = true;
    const gone = deaf.watched[0] ?? '';
    await sim.kill(gone);
    for (let seconds = 0; seconds < 90; seconds += 5) {
      await sim.clock.pass(5000);
      const ages = sim.living.map(({ mesh }) => mesh.matrix().ageMs('n7') ?? Number.POSITIVE_INFINITY);
      assert.ok(Math.max(...ages) < 20_000, `SEED=${seed}: after ${seconds} s ${Math.max(...ages)} ms`);
    }
    sim.notice(deaf, gone);
    const took = await untilKnown(sim, 'n7', gone);
    assert.ok(took <= 300, `SEED=${seed}: ${took} ms`);
    await sim.stop();
  });

  it('know within 300 ms what one that nobody can ask says of itself', async () => {
    const sim = simulate(200);
    await sim.until('all rows', whole(sim), 500);
    const deaf = sim.node('n7');
    deaf.deaf = true;
    await sim.clock.pass(1000);
    sim.note(deaf, [ofItself('n7')]);
    const took = await untilNoted(sim, 'n7', 1);
    assert.ok(took <= 300, `SEED=${seed}: ${took} ms`);
    await sim.stop();
  });

  it('know the same of one that is begun anew, whatever it said of itself before', async () => {
    const sim = simulate(200);
    await sim.until('all rows', whole(sim), 500);
    const node = sim.node('n7');
    for (let i = 0; i < 6; i++) {
      sim.note(node, i % 2 === 0 ? [ofItself('n7')] : []);
      await sim.clock.pass(2000);
    }
    await sim.kill('n7');
    await sim.clock.pass(2000);
    sim.revive('n7');
    node.deaf = true;
    sim.note(node, [ofItself('n7')]);
    const took = await untilNoted(sim, 'n7', 1);
    assert.ok(took <= 300, `SEED=${seed}: ${took} ms`);
    await sim.stop();
  });

  it('push so much as has room, however long notes are, and have the rest by pull', async () => {
    const sim = simulate(64);
    await sim.until('all rows', whole(sim), 500);
    const node = sim.node('n7');
    const word = 'x'.repeat(256);
    const lossPoint = { node: word, hook: word, leg: 'answer', reason: word } as const;
    const long = Array.from({ length: 16 }, () => ({ ...ofItself('n7'), lossPoint }));
    const before = node.mesh.counters();
    for (let i = 0; i < 50; i++) {
      sim.note(node, long.slice(i % 2));
      await sim.clock.pass(40);
    }
    const after = node.mesh.counters();
    assert.ok(before !== undefined && after !== undefined && after.rowsNotPushed > 0);
    const bytes = after.bytesSent - before.bytesSent;
    // Two seconds and a bit of a third, four partners, and what is pulled.
    assert.ok(bytes <= 4 * 3 * 300 * 1024, `SEED=${seed}: ${bytes} bytes`);
    await untilNoted(sim, 'n7', 15);
    await sim.stop();
  });

  it('take the new row of a node that returns, and give it all of theirs', async () => {
    const sim = simulate(64);
    await sim.until('all rows', whole(sim), 500);
    await sim.kill('n7');
    await sim.clock.pass(5000);
    const before = sim.node('n8').mesh.matrix().row('n7')?.incarnation ?? 0;
    sim.revive('n7');
    const renewed = (): boolean =>
      whole(sim)() && sim.living.every(({ mesh }) => (mesh.matrix().row('n7')?.incarnation ?? 0) > before);
    await sim.until(`SEED=${seed}: the new row`, renewed, 500);
    await sim.stop();
  });

  it('hear of each other again after a partition of half an hour', async () => {
    const sim = simulate(40);
    await sim.until('all rows', whole(sim), 500);
    for (const [i, node] of sim.nodes.entries()) node.side = i % 2;
    await sim.clock.pass(30 * 60_000);
    const [even] = sim.nodes;
    assert.ok((even?.mesh.matrix().ageMs('n1') ?? 0) > 29 * 60_000);
    for (const node of sim.nodes) node.side = 0;
    const fresh = (): boolean =>
      sim.nodes.every(({ mesh }) => {
        const matrix = mesh.matrix();
        return sim.nodes.every(({ name }) => (matrix.ageMs(name) ?? Number.POSITIVE_INFINITY) < 30_000);
      });
    const took = await sim.until(`SEED=${seed}: both sides`, fresh, 500);
    assert.ok(took <= 60_000, `${took} ms`);
    await sim.stop();
  });

  it('lose nothing but time where many changes come at once', async () => {
    const sim = simulate(64);
    await sim.until('all rows', whole(sim), 500);
    const gone = sim.nodes.slice(0, 20).map(({ name }) => name);
    for (const name of gone) await sim.kill(name);
    const noticed = gone.flatMap((name) => sim.watchersOf(name).map((watcher) => ({ watcher, name })));
    for (const { watcher, name } of noticed) sim.notice(watcher, name);
    const all = (): boolean =>
      noticed.every(({ watcher, name }) => sim.living.every((node) => sim.knows(node, watcher.name, name)));
    await sim.until(`SEED=${seed}: all changes`, all, 100, 60_000);
    await sim.stop();
  });

  it('believe the node itself in the end where a liar told a later row of it', async () => {
    const sim = simulate(32);
    await sim.until('all rows', whole(sim), 500);
    const [victim, liar, fooled] = [sim.node('n1'), sim.node('n2'), sim.node('n3')];
    const row = victim.mesh.matrix().row('n1');
    const directory = new NodeDirectory();
    directory.update(sim.nodes.map(({ name, address }) => ({ name, addresses: [address] })));
    const peer = directory.slotOf(victim.watched[0] ?? '') ?? 0;
    const lie: RowPatch = {
      slot: directory.slotOf('n1') ?? 0,
      incarnation: row?.incarnation ?? 0,
      base: 0,
      version: 1_000_000,
      atMs: sim.clock.wallMs(),
      cells: [peer, 1_000_000, 0xc, 0, 0, 60, 60],
      notes: undefined,
    };
    const writer = new PatchWriter(directory, 1e6);
    writer.add(lie);
    assert.equal(fooled.mesh.answer('news', liar.address, writer.take(false)).kind, 'answer');
    assert.ok(sim.knows(fooled, 'n1', victim.watched[0] ?? ''));
    const undone = (): boolean => !sim.living.some((node) => sim.knows(node, 'n1', victim.watched[0] ?? ''));
    await sim.until(`SEED=${seed}: the truth`, undone, 500);
    await sim.until(`SEED=${seed}: all rows`, whole(sim), 500);
    await sim.stop();
  });

  it('refuse what is malformed, from a time to come, or about themselves, and count it', async () => {
    const sim = simulate(4);
    const { mesh, address } = sim.node('n0');
    assert.equal(mesh.isNode(address), true);
    assert.equal(mesh.isNode('192.0.2.1'), false);
    assert.equal(mesh.answer('news', sim.node('n1').address, Buffer.from('nonsense')).kind, 'malformed');
    assert.equal(mesh.answer('differences', '192.0.2.1', encodeHave([])).kind, 'malformed');
    const directory = new NodeDirectory();
    directory.update(sim.nodes.map(({ name }) => ({ name, addresses: [] })));
    const writer = new PatchWriter(directory, 1e6);
    const later = sim.clock.wallMs() + 25 * 3_600_000;
    const future = { base: 0, version: 5, incarnation: later, atMs: later, cells: [], notes: undefined };
    writer.add({ ...future, slot: directory.slotOf('n2') ?? 0 });
    writer.add({ ...future, slot: directory.slotOf('n0') ?? 0, incarnation: 1, atMs: 1 });
    mesh.answer('news', sim.node('n1').address, writer.take(false));
    const { malformed, rowsRefused, rowsTaken } = mesh.counters() ?? {};
    assert.deepEqual([malformed, rowsRefused, rowsTaken], [1, 2, 0]);
    await sim.stop();
  });
});
