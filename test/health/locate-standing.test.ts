import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import type { FaultKind, HealthVerdict, RowNote } from '../../src/model/health.ts';
import { DEAD, names, World } from './locate-world.ts';

const WALL_MS = Date.UTC(2026, 0, 1);
const ICMP = 1;
const NODES = 12;

const brief = ({ fault, place }: HealthVerdict): string => `${fault} ${Object.values(place).join(' ')}`;

/** Of the path of one node to a peer. */
function note(peer: string, fault: FaultKind, lossPoint?: RowNote['lossPoint']): RowNote {
  return { peer, kind: ICMP, family: 4, fault, lossPoint, sinceMs: WALL_MS };
}

describe('verdicts over time', () => {
  let world: World;
  let diagnoser: Diagnoser;
  let nowMs: number;

  beforeEach(() => {
    world = new World(names(NODES));
    diagnoser = new Diagnoser();
    nowMs = 0;
  });

  /** All that is told in so many seconds, each once. */
  function toldFor(seconds: number): string[] {
    const told = new Set<string>();
    for (let i = 0; i < seconds; i++) {
      nowMs += 1000;
      const at = { nowMs, wallMs: WALL_MS + nowMs };
      for (const verdict of diagnoser.diagnose(world.changed(), () => [], at).verdicts)
        told.add(brief(verdict));
    }
    return [...told];
  }

  /** So many nodes, the first ones, and the last node do not pass long packets to each other. */
  const hole = (observers: number): void => {
    const [last = '', ...others] = names(NODES).reverse();
    const seeing = others.reverse().slice(0, observers);
    world.notes = (from) => {
      if (from === last) return seeing.map((peer) => note(peer, 'mtu-black-hole'));
      return seeing.includes(from) ? [note(last, 'mtu-black-hole')] : [];
    };
  };

  it('are one from its beginning, when the paths of a node show its fault one after the other', () => {
    hole(3);
    assert.deepEqual(toldFor(5), []);
    hole(11);
    assert.deepEqual(toldFor(3), ['mtu-black-hole node n12 both']);
  });

  it('are of pairs when those stay the only ones', () => {
    hole(2);
    const told = ['mtu-black-hole pair n01 n12', 'mtu-black-hole pair n02 n12'];
    assert.deepEqual(toldFor(12).sort(), told);
  });

  it('are one until its end, when the paths of a node heal one after the other', () => {
    hole(11);
    assert.deepEqual(toldFor(3), ['mtu-black-hole node n12 both']);
    hole(2);
    assert.deepEqual(toldFor(8), ['mtu-black-hole node n12 both']);
    hole(0);
    assert.deepEqual(toldFor(3), []);
  });

  it('are of the pairs in the end, when these do not heal', () => {
    hole(11);
    toldFor(3);
    hole(1);
    toldFor(20);
    assert.deepEqual(toldFor(2), ['mtu-black-hole pair n01 n12']);
  });

  /** The agent of the last node is silent to so many nodes, the first ones. */
  const hung = (observers: number): void => {
    const [last = '', ...others] = names(NODES).reverse();
    const seeing = others.reverse().slice(0, observers);
    world.see = (from, to) =>
      to === last && seeing.includes(from) ? { states: { 'host-host/http': 'unreachable' } } : {};
  };

  it('are of an agent until its end, though between two nodes the same is called a filter', () => {
    hung(11);
    assert.deepEqual(toldFor(3), ['agent-hung node n12 both']);
    hung(4);
    assert.deepEqual(toldFor(10), ['agent-hung node n12 both']);
    hung(0);
    assert.deepEqual(toldFor(3), []);
  });

  it('have the reason of a node that says of itself what it drops, when one has asked it', () => {
    const dead = { 'host-endpoint': 'unreachable' } as const;
    world.see = (_, to) => (to === 'n03' ? { states: dead } : {});
    const point = { node: 'n03', hook: 'from_netdev', leg: 'request', reason: 'Policy denied' } as const;
    world.notes = (from) => (from === 'n01' ? [note('n03', 'policy-drop', point)] : []);
    assert.deepEqual(toldFor(3), ['policy-drop node n03 receive']);
    const elsewhere = { ...point, node: 'n01', hook: 'stamp', reason: 'never came' };
    world.notes = (from) => (from === 'n01' ? [note('n03', 'nic-drop', elsewhere)] : []);
    diagnoser = new Diagnoser();
    assert.deepEqual(toldFor(1), [], 'silence without a reason may be a part of more');
    assert.ok(toldFor(2).includes('drop node n03 both'));
  });

  const hungStack = { 'host-host/icmp': 'unreachable', 'host-host/http': 'unreachable' } as const;
  /** A node says of itself that its policy drops what comes. */
  const drops = (node: string): void => {
    const point = { node, hook: 'to_host', leg: 'request', reason: 'Policy denied' } as const;
    world.notes = (from) => (from === node ? [note(node, 'policy-drop', point)] : []);
  };

  it('have the reason of a node that says of itself what it drops, when nobody can ask it', () => {
    world.see = (_, to) => (to === 'n03' ? { states: hungStack } : {});
    assert.deepEqual(toldFor(1), ['stack-hung node n03 both']);
    drops('n03');
    assert.deepEqual(toldFor(3), ['policy-drop node n03 receive']);
    const [verdict] = diagnoser.diagnose(world, () => [], { nowMs, wallMs: WALL_MS }).verdicts;
    assert.deepEqual([verdict?.lossPoint?.node, verdict?.lossPoint?.hook], ['n03', 'to_host']);
    drops('n05');
    assert.deepEqual(toldFor(3), ['stack-hung node n03 both'], 'that another one drops is no reason');
  });

  it('are of a hung stack when what the node said of itself is from before, and may be over', async () => {
    let notedMs = 0;
    world.notesAge = () => nowMs - notedMs;
    drops('n03');
    assert.deepEqual(toldFor(4), []);
    world.see = (_, to) => (to === 'n03' ? { states: hungStack } : {});
    assert.deepEqual(toldFor(8), ['stack-hung node n03 both']);
    notedMs = nowMs;
    assert.deepEqual(toldFor(15), ['policy-drop node n03 receive'], 'said again since: it lives');
  });

  it('are of a dead node whatever it said of itself, and there is none where nobody misses what it drops', () => {
    drops('n03');
    assert.deepEqual(toldFor(3), []);
    world.see = (_, to) => (to === 'n03' ? { states: DEAD } : {});
    assert.deepEqual(toldFor(3), ['node-down node n03 both']);
  });

  it('have the reason of the only other node, too', () => {
    world = new World(names(2));
    world.see = (_, to) => (to === 'n02' ? { states: hungStack } : {});
    drops('n02');
    assert.deepEqual(toldFor(3), ['policy-drop pair n01 n02']);
  });

  it('are nothing that the last row of a node says that was cut off, until it tells another one after its return', () => {
    let changes = 0;
    const worldSees = (isCut: boolean): void => {
      world.see = (from, to) => {
        if (isCut && to === 'n03') return { states: DEAD };
        return from === 'n03' && to === 'n05' ? { states: { 'host-endpoint': 'unreachable' } } : {};
      };
    };
    world.behind = (node) => (node === 'n03' ? changes : 0);
    worldSees(true);
    assert.deepEqual(toldFor(1), ['node-down node n03 both']);
    worldSees(false);
    for (let seconds = 0; seconds < 8; seconds++) {
      changes++;
      assert.deepEqual(toldFor(1), [], `after ${seconds} s`);
    }
    changes = 0;
    assert.deepEqual(toldFor(3), ['drop pair n03 n05']);
  });

  it('are not what a node notes of a peer of which it says that it does well', () => {
    const lossPoint = { node: 'n03', hook: 'stamp', leg: 'request', reason: 'never came' } as const;
    world.notes = (from) => (from === 'n03' ? [note('n05', 'nic-drop', lossPoint)] : []);
    assert.deepEqual(toldFor(5), []);
    world.see = (from, to) =>
      from === 'n03' && to === 'n05' ? { states: { 'host-host': 'unreachable' } } : {};
    assert.deepEqual(toldFor(5), ['nic-drop pair n03 n05']);
  });

  it('need as long for the silence of two nodes whatever was told between these before', () => {
    const lossy = (from: string, to: string): boolean => from === 'n03' && to === 'n05';
    world.see = (from, to) => (lossy(from, to) ? { sent: 60, lost: 20 } : {});
    assert.deepEqual(toldFor(5), ['loss pair n03 n05']);
    world.see = (from, to) => (lossy(from, to) ? { states: DEAD } : {});
    assert.ok(!toldFor(1).includes('node-down pair n03 n05'), 'others may be about to say that n05 is down');
    world.see = (_, to) => (to === 'n05' ? { states: DEAD } : {});
    assert.ok(!toldFor(3).includes('node-down pair n03 n05'));
  });
});
