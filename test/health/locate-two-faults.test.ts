import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import {
  type FaultKind,
  type FaultPlace,
  type LossPoint,
  PROBE_KINDS,
  ROW_NOTES_MAX,
  type RowNote,
} from '../../src/model/health.ts';
import { Random } from '../support/random.ts';
import { names, type Seen, type SeenCell, World } from './locate-world.ts';

const WALL_MS = Date.UTC(2026, 0, 1);
const NODES = 12;
const TRIALS = 20;
const SEED = 7;
/** Of a row that came last before its node was hung or cut off. */
const OLD_MS = 60_000;
const STEPS_MS = [0, 1000, 2000];

/** One fault as the rows show it: at `node`, or between `node` and `other`. */
interface Injected {
  readonly fault: FaultKind;
  /** Sorted and joined: `n03`, or `n03 n07`. */
  readonly place: string;
  /** Whether a kind of path from one node to another is not answered. */
  readonly isSilent: (kind: string, from: string, to: string) => boolean;
  /** What the observer found out about its paths to the peer. */
  readonly note?: (from: string, to: string) => LossPoint | 'no point' | undefined;
  /** Nodes that no longer tell their rows. */
  readonly quiet?: string;
}

type Inject = (node: string, other: string) => Injected;

const touches = (node: string, from: string, to: string): boolean => from === node || to === node;
const isBetween = (a: string, b: string, from: string, to: string): boolean =>
  touches(a, from, to) && touches(b, from, to);
const endpointEcho = /^(host|endpoint)-endpoint\/icmp$/;

/** The faults of the lab (test/e2e/health-faults.test.ts) and a dead node. */
const FAULTS: Readonly<Record<string, Inject>> = {
  'a policy that denies': (node) => ({
    fault: 'policy-drop',
    place: node,
    isSilent: (kind, _, to) => to === node && endpointEcho.test(kind),
    note: (_, to) =>
      to === node ? { node, hook: 'from_netdev', leg: 'request', reason: 'Policy denied' } : undefined,
  }),
  'a missing route': (node, other) => ({
    fault: 'route-missing',
    place: [node, other].sort().join(' '),
    isSilent: (kind, from, to) => kind.startsWith('host-host/') && isBetween(node, other, from, to),
    note: (from, to) =>
      from === node && to === other
        ? { node, hook: 'socket', leg: 'request', reason: 'EHOSTUNREACH: no route' }
        : undefined,
  }),
  'a network that drops what is sent to a node': (node) => ({
    fault: 'nic-drop',
    place: node,
    isSilent: (_, from, to) => touches(node, from, to),
    note: (from, to) =>
      to === node
        ? { node: from, hook: 'stamp', leg: 'request', reason: 'it never came to the peer' }
        : undefined,
    quiet: node,
  }),
  'a stack that hangs': (node) => ({
    fault: 'stack-hung',
    place: node,
    isSilent: (kind, _, to) => to === node && !kind.endsWith('/echo'),
    quiet: node,
  }),
  'a hung agent': (node) => ({
    fault: 'agent-hung',
    place: node,
    isSilent: (kind, _, to) => to === node && kind.endsWith('/http'),
    quiet: node,
  }),
  'a network that swallows long packets': (node) => ({
    fault: 'mtu-black-hole',
    place: node,
    isSilent: () => false,
    note: (from, to) => (touches(node, from, to) ? 'no point' : undefined),
  }),
  'a link that swallows long packets': (node, other) => ({
    fault: 'mtu-black-hole',
    place: [node, other].sort().join(' '),
    isSilent: () => false,
    note: (from, to) => (isBetween(node, other, from, to) ? 'no point' : undefined),
  }),
  'a dead node': (node) => ({
    fault: 'node-down',
    place: node,
    isSilent: (_, from, to) => touches(node, from, to),
    quiet: node,
  }),
};

/** A cluster in which all of them are at once. */
function worldOf(injected: readonly Injected[]): World {
  const world = new World(names(NODES));
  const quiet = new Set(injected.map((one) => one.quiet));
  world.self = world.nodes.find(({ name }) => !quiet.has(name))?.name ?? '';
  world.age = (node) => (quiet.has(node) ? OLD_MS : 500);
  // A node that no longer tells anything has told that all was well.
  world.see = (from, to): SeenCell => {
    if (quiet.has(from)) return {};
    const silent = PROBE_KINDS.filter(
      ({ name, expects }) => expects === 'answer' && injected.some((one) => one.isSilent(name, from, to)),
    );
    return { states: Object.fromEntries(silent.map(({ name }) => [name, 'unreachable'])) as Seen };
  };
  world.notes = (from) => (quiet.has(from) ? [] : notesOf(injected, from));
  return world;
}

function notesOf(injected: readonly Injected[], from: string): RowNote[] {
  const notes: RowNote[] = [];
  for (const { fault, note } of injected) {
    for (const to of names(NODES)) {
      const found = to === from ? undefined : note?.(from, to);
      // Of a peer that does not answer at all nothing is known of large packets.
      const isHidden = injected.some((one) => one.isSilent('host-host/icmp', from, to));
      if (found === undefined || (found === 'no point' && isHidden)) continue;
      const lossPoint = found === 'no point' ? undefined : found;
      const kind = fault === 'policy-drop' ? 3 : 1;
      notes.push({ peer: to, kind, family: 4, fault, lossPoint, sinceMs: WALL_MS });
    }
  }
  return notes.slice(0, ROW_NOTES_MAX);
}

/** `fault place` of all verdicts: at once, and one and two seconds later, in which nothing changes. */
function told(world: World): string[][] {
  const diagnoser = new Diagnoser();
  return STEPS_MS.map((ms) => {
    const { verdicts } = diagnoser.diagnose(world, () => [], { nowMs: ms, wallMs: WALL_MS + ms });
    return verdicts.map(({ fault, place }) => `${fault} ${endsOf(place)}`).sort();
  });
}

function endsOf(place: FaultPlace): string {
  const ends = Object.entries(place).filter(([name]) => ['node', 'from', 'to'].includes(name));
  return ends
    .map(([, node]) => node)
    .sort()
    .join(' ');
}

/** So many different nodes. */
function somewhere(random: Random, count: number): string[] {
  const rest = names(NODES);
  return Array.from({ length: count }, () => rest.splice(random.below(rest.length), 1)[0] ?? '');
}

const textOf = ({ fault, place }: Injected): string => `${fault} ${place}`;

describe(`two faults at once among ${NODES} nodes`, () => {
  const all = Object.entries(FAULTS);
  const random = new Random(SEED);

  for (const [i, [one, injectOne]] of all.entries()) {
    for (const [two, injectTwo] of all.slice(i)) {
      it(`are both named, and nothing else, when they are ${one} and ${two}: ${TRIALS} places, seed ${SEED}`, () => {
        for (let trial = 0; trial < TRIALS; trial++) {
          const [a = '', b = '', c = '', d = ''] = somewhere(random, 4);
          const injected = [injectOne(a, b), injectTwo(c, d)];
          const expected = injected.map(textOf).sort();
          const steps = told(worldOf(injected));
          assert.deepEqual(steps.at(-1), expected, `trial ${trial}`);
          const wrong = steps.flat().filter((text) => !expected.includes(text));
          assert.deepEqual(wrong, [], `trial ${trial}, on the way`);
        }
      });
    }
  }
});
