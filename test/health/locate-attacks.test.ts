import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import { FAULT_KINDS, type HealthVerdict, type RowNote } from '../../src/model/health.ts';
import { DEAD, names, type SeenCell, World } from './locate-world.ts';

const WALL_MS = Date.UTC(2026, 0, 1);
const LIAR = 'n05';
const DEAD_NODE = 'n03';
const MOST = 0xffff;

const brief = ({ fault, place }: HealthVerdict): string => `${fault} ${Object.values(place).join(' ')}`;

/** Keeps a diagnoser over worlds that change. */
class Watch {
  readonly #diagnoser = new Diagnoser();
  #nowMs = 0;

  /** All that is told in so many seconds, each once, in order. */
  for(seconds: number, world: World, stepMs = 0): string[] {
    const told = new Set<string>();
    for (let i = 0; i < seconds; i++) {
      this.#nowMs += 1000;
      const at = { nowMs: this.#nowMs, wallMs: WALL_MS + this.#nowMs + stepMs };
      for (const verdict of this.#diagnoser.diagnose(world.changed(), () => [], at).verdicts)
        told.add(brief(verdict));
    }
    return [...told];
  }
}

/** Names nobody but the liar: as the one who complains, or as one end of a pair. */
const isOfLiar = (text: string): boolean =>
  text.endsWith(`observer ${LIAR}`) || (text.includes(' pair ') && text.includes(LIAR));

const note = (peer: string, more: Partial<RowNote>): RowNote => ({
  ...{ peer, kind: 1, family: 4, fault: 'drop', lossPoint: undefined, sinceMs: WALL_MS },
  ...more,
});

describe('a diagnosis with a node that lies in its row', () => {
  const lies: readonly (readonly [string, (to: string) => SeenCell])[] = [
    ['that all others are dead', () => ({ states: DEAD, sent: 60, lost: 60 })],
    ['that one other is dead', (to) => (to === 'n02' ? { states: DEAD, sent: 60, lost: 60 } : {})],
    ['that everything was lost, as often as there is room for', () => ({ sent: MOST, lost: MOST })],
    ['that one other lost 65,535 probes', (to) => (to === 'n02' ? { sent: MOST, lost: MOST } : {})],
    ['that it lost half of 65,535 probes everywhere', () => ({ sent: MOST, lost: MOST >> 1 })],
    ['that all are degraded', () => ({ states: { '*': 'degraded' } })],
  ];
  for (const size of [8, 64])
    for (const [what, cell] of lies) {
      it(`blames nobody else of ${size} nodes when it says ${what}`, () => {
        const world = new World(names(size));
        world.see = (from, to) => (from === LIAR ? cell(to) : {});
        const told = new Watch().for(15, world);
        assert.deepEqual(
          told.filter((text) => !isOfLiar(text)),
          [],
        );
      });

      it(`still names a dead node, and nothing else, of ${size} nodes when it says ${what}`, () => {
        const world = new World(names(size));
        world.see = (from, to) =>
          to === DEAD_NODE ? { states: DEAD, sent: 60, lost: 60 } : from === LIAR ? cell(to) : {};
        const told = new Watch().for(15, world).filter((text) => !isOfLiar(text));
        assert.deepEqual(told, [`node-down node ${DEAD_NODE} both`]);
      });
    }

  it('is still of a dead node when it says that all is well there', () => {
    const world = new World(names(8));
    world.see = (from, to) =>
      to === DEAD_NODE && from !== LIAR ? { states: DEAD, sent: 60, lost: 60 } : { sent: MOST };
    assert.deepEqual(new Watch().for(15, world), [`node-down node ${DEAD_NODE} both`]);
  });

  for (const fault of FAULT_KINDS) {
    it(`does not take its word for ${fault} of others`, () => {
      const world = new World(names(8));
      const others = names(8).filter((name) => name !== LIAR);
      const at = (node: string) => ({ node, hook: 'from_netdev', leg: 'request', reason: 'lied' }) as const;
      world.notes = (from) =>
        from === LIAR ? others.map((peer) => note(peer, { fault, lossPoint: at(peer) })) : [];
      const quiet = new Watch().for(15, world).filter((text) => !isOfLiar(text));
      assert.deepEqual(quiet, []);
      world.see = (_, to) => (to === DEAD_NODE ? { states: DEAD, sent: 60, lost: 60 } : {});
      const told = new Watch().for(15, world).filter((text) => !isOfLiar(text));
      assert.deepEqual(
        told.map((text) => text.replace(/(both|receive|send)$/, '')),
        [`node-down node ${DEAD_NODE} `],
      );
    });
  }
});

describe('a diagnosis while nodes come and go', () => {
  it('goes on telling of the fault there is, and of nothing else', () => {
    const watch = new Watch();
    const isDead: World['see'] = (_, to) => (to === DEAD_NODE ? { states: DEAD, sent: 60, lost: 60 } : {});
    const worldOf = (nodes: readonly string[]): World => {
      const world = new World(nodes);
      world.see = isDead;
      return world;
    };
    const all = names(14);
    const expected = [`node-down node ${DEAD_NODE} both`];
    assert.deepEqual(watch.for(5, worldOf(all.slice(0, 12))), expected);
    const joined = worldOf(all.slice(0, 13));
    joined.age = (node) => (node === 'n13' ? undefined : 500);
    joined.see = (from, to) => (to === 'n13' ? undefined : isDead(from, to));
    assert.deepEqual(watch.for(3, joined), expected, 'one that nobody has heard of yet');
    assert.deepEqual(watch.for(5, worldOf(all.slice(0, 13))), expected, 'it has a row now');
    const left = all.filter((name) => name !== 'n07');
    assert.deepEqual(watch.for(5, worldOf(left)), expected, 'another one left and one came');
    assert.deepEqual(watch.for(5, worldOf([...left].reverse())), expected, 'the list in another order');
    assert.deepEqual(watch.for(5, worldOf(left.filter((name) => name !== DEAD_NODE))), [], 'it left itself');
  });

  it('is not moved by a realtime clock that is set an hour back or on', () => {
    const world = new World(names(8));
    world.see = (_, to) => (to === DEAD_NODE ? { states: DEAD, sent: 60, lost: 60 } : {});
    const watch = new Watch();
    const expected = [`node-down node ${DEAD_NODE} both`];
    for (const stepMs of [0, -3_600_000, 3_600_000]) {
      assert.deepEqual(watch.for(5, world, stepMs), expected);
    }
    world.see = () => ({});
    assert.deepEqual(watch.for(2, world, -3_600_000), []);
  });
});
