import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import { DEAD, names, type SeenCell, World } from './locate-world.ts';

/** Families of the only verdict. */
function families(see: World['see']): readonly number[] {
  const world = new World(names(8));
  world.see = see;
  const diagnoser = new Diagnoser();
  const looks = [0, 1000, 2000].map((nowMs) => diagnoser.diagnose(world, () => [], { nowMs, wallMs: nowMs }));
  const verdicts = looks.at(-1)?.verdicts ?? [];
  assert.equal(verdicts.length, 1, JSON.stringify(verdicts));
  return verdicts[0]?.families ?? [];
}

const BOTH: SeenCell = { states: {}, states6: {} };
const between = (from: string, to: string, a: string, b: string): boolean =>
  (from === a && to === b) || (from === b && to === a);

describe('the family of a fault, in a cluster of which most nodes have both', () => {
  it('is told of a node that has both, of which one fails', () => {
    const see = (_: string, to: string): SeenCell => (to === 'n03' ? { states: DEAD, states6: {} } : BOTH);
    assert.deepEqual(families(see), [4]);
  });

  it('is not told of a node that is seen by one only, whatever it sees itself', () => {
    for (const own of [{ states: {} }, BOTH]) {
      const see = (from: string, to: string): SeenCell =>
        to === 'n03' ? { states: DEAD } : from === 'n03' ? own : BOTH;
      assert.deepEqual(families(see), []);
    }
  });

  it('is told of an observer that has both, and not of one with one only', () => {
    const see =
      (own: SeenCell) =>
      (from: string): SeenCell =>
        from === 'n07' ? own : BOTH;
    assert.deepEqual(families(see({ states: DEAD, states6: {} })), [4]);
    assert.deepEqual(families(see({ states: DEAD })), []);
  });

  it('is told of a pair with both, and not of one with one only', () => {
    const pair =
      (bad: SeenCell) =>
      (from: string, to: string): SeenCell =>
        between(from, to, 'n02', 'n05') ? bad : BOTH;
    assert.deepEqual(families(pair({ states: {}, states6: DEAD })), [6]);
    assert.deepEqual(families(pair({ states: DEAD })), []);
  });
});
