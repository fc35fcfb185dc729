import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import type { FaultPlace, LossPoint, RowNote } from '../../src/model/health.ts';
import { verdictText } from '../../src/view/health-diagnosis.ts';
import { names, type Seen, World } from './locate-world.ts';

const WALL_MS = Date.UTC(2026, 0, 1);
const BAD = 'n03';
const LOST: Seen = { 'host-endpoint': 'unreachable', 'endpoint-endpoint': 'unreachable' };

/** The only verdict that stands after two seconds in which nothing changes. */
function told(world: World): { readonly place: FaultPlace; readonly what: string } {
  const diagnoser = new Diagnoser();
  const looks = [0, 1000, 2000].map((nowMs) =>
    diagnoser.diagnose(world, () => [], { nowMs, wallMs: WALL_MS + nowMs }),
  );
  const verdicts = looks.at(-1)?.verdicts ?? [];
  assert.equal(verdicts.length, 1, JSON.stringify(verdicts));
  const [verdict] = verdicts;
  assert.ok(verdict !== undefined);
  return { place: verdict.place, what: verdictText(verdict).what };
}

function note(peer: string, lossPoint: LossPoint): RowNote {
  return { peer, kind: 3, family: 4, fault: 'policy-drop', lossPoint, sinceMs: WALL_MS };
}

const reason = 'Policy denied';

/** Where the node's programs drop what they see of others' probes: hook, leg, direction. */
const ANSWERS = [
  ['to_pod', 'request', 'receive'],
  ['to_host', 'request', 'receive'],
  ['from_pod', 'answer', 'send'],
  ['from_host', 'answer', 'send'],
] as const;

describe('the direction of a fault of a node', () => {
  for (const [hook, leg, direction] of ANSWERS)
    it(`is ${direction} when it drops the ${leg}s of all others' probes at ${hook}`, () => {
      const world = new World(names(6));
      world.see = (_, to) => (to === BAD ? { states: LOST } : {});
      world.notes = (from) => (from === BAD ? [] : [note(BAD, { node: BAD, hook, leg, reason })]);
      const { place, what } = told(world);
      assert.deepEqual(place, { kind: 'node', node: BAD, direction });
      assert.ok(what.includes(`what node ${BAD} ${direction}s`), what);
    });

  for (const [hook, leg, direction] of [
    ['from_pod', 'request', 'send'],
    ['to_pod', 'answer', 'receive'],
  ] as const)
    it(`is ${direction} when it drops the ${leg}s of its own probes at ${hook}, as others see it too`, () => {
      const world = new World(names(6));
      world.see = (from, to) => (from === BAD || to === BAD ? { states: LOST } : {});
      world.notes = (from) =>
        from === BAD
          ? names(6)
              .filter((peer) => peer !== BAD)
              .map((peer) => note(peer, { node: BAD, hook, leg, reason }))
          : [note(BAD, { node: BAD, hook, leg: leg === 'request' ? 'answer' : 'request', reason })];
      assert.deepEqual(told(world).place, { kind: 'node', node: BAD, direction });
    });

  it('is both when as much is dropped of what comes in as of what leaves', () => {
    const world = new World(names(7));
    world.see = (_, to) => (to === BAD ? { states: LOST } : {});
    world.notes = (from) => {
      if (from === BAD) return [];
      const odd = Number(from.slice(1)) % 2 === 1;
      const lossPoint = odd
        ? ({ node: BAD, hook: 'from_pod', leg: 'answer', reason } as const)
        : ({ node: BAD, hook: 'to_pod', leg: 'request', reason } as const);
      return [note(BAD, lossPoint)];
    };
    assert.deepEqual(told(world).place, { kind: 'node', node: BAD, direction: 'both' });
  });

  it('is send when others miss its answers on paths of different kinds, at the first look', () => {
    const world = new World(names(3));
    const seen: Readonly<Record<string, Seen>> = {
      n01: { 'host-endpoint/icmp': 'unreachable' },
      n02: { 'endpoint-endpoint': 'unreachable' },
    };
    const point = { node: BAD, hook: 'from_pod', leg: 'answer', reason } as const;
    world.see = (from, to) => (to === BAD ? { states: seen[from] ?? {} } : {});
    world.notes = (from) => (from === BAD ? [] : [note(BAD, point)]);
    const { verdicts } = new Diagnoser().diagnose(world, () => [], { nowMs: 0, wallMs: WALL_MS });
    assert.deepEqual(
      verdicts.map(({ place }) => place),
      [{ kind: 'node', node: BAD, direction: 'send' }],
    );
  });
});
