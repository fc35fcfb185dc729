import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { FaultPlace, HealthDiagnosis, HealthVerdict, LossPoint } from '../../src/model/health.ts';
import { HealthLab, type LabNode } from '../support/health-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';

/**
 * All nodes of a lab think in one process, which must have time to answer probes besides. In the large lab they go without
 * what would take all of it: to measure the size of packets that every path takes (63 times 64 measurements of sixteen
 * packets and more), to ask each other where probes are lost, and datapaths, each of which takes 0.4 s of CPU to load and
 * 50 MB of the kernel's memory. The smaller one has all of it.
 */
const LARGE = { nodes: Number(process.env.CILIATE_HEALTH_LAB_NODES ?? 64), datapaths: 0, findsCauses: false };
const SMALL = { nodes: 16, datapaths: 2, findsCauses: true };
/** They are asked seldom what they think. */
const LIMIT = { timeoutMs: 180_000, everyMs: 1000 };
const LINK_BYTES = 1500;
const NARROW_BYTES = 1400;

/** What every healthy node must say. */
interface Expected {
  readonly fault: HealthVerdict['fault'];
  readonly isPlace: (place: FaultPlace) => boolean;
  readonly isLoss?: (point: LossPoint | undefined) => boolean;
}

/** One line of the script: what breaks, and the verdicts that every healthy node must come to, and no others. */
interface Step {
  readonly what: string;
  readonly broken: readonly number[];
  readonly expected: readonly Expected[];
  readonly set: (isBroken: boolean) => Promise<unknown>;
}

const at =
  (i: number) =>
  (place: FaultPlace): boolean =>
    place.kind === 'node' && place.node === `n${i}`;
const between =
  (a: number, b: number) =>
  (place: FaultPlace): boolean =>
    place.kind === 'pair' && [place.from, place.to].sort().join(' ') === [`n${a}`, `n${b}`].sort().join(' ');

function textOf({ state, verdicts, silent }: HealthDiagnosis): string {
  const short = verdicts.map(({ fault, place, lossPoint }) => [fault, place, lossPoint?.reason]);
  return `${state} ${JSON.stringify(short)} silent ${silent.length}`;
}

/** Starts a lab, and breaks and heals it on a script: within a `describe`. */
function follow(lab: HealthLab, steps: readonly Step[]): void {
  before(() => lab.start());
  after(() => lab.stop());

  const watchers = (broken: readonly number[]): LabNode[] => lab.nodes.filter((_, i) => !broken.includes(i));

  /** Waits until every one of these nodes thinks so; a failure says what those thought that did not. */
  async function agree(
    what: string,
    nodes: () => readonly LabNode[],
    thinksSo: (diagnosis: HealthDiagnosis) => boolean,
  ): Promise<void> {
    const begun = performance.now();
    const said = new Map<string, number>();
    const others = (): LabNode[] =>
      nodes().filter(({ health }) => {
        const diagnosis = health.diagnosis();
        const text = textOf(diagnosis);
        said.set(text, said.get(text) ?? Math.round(performance.now() - begun));
        return !thinksSo(diagnosis);
      });
    try {
      await eventually(what, () => others().length === 0 || undefined, LIMIT);
    } catch (cause) {
      const thoughts = others().map(({ name, health }) => `${name}: ${textOf(health.diagnosis())}`);
      const history = [...said].map(([text, ms]) => `after ${ms} ms: ${text}`);
      throw new Error(`${what}; thought otherwise:\n${[...thoughts, ...history].join('\n')}`, { cause });
    }
  }

  it('agree that all is well, each from the rows of all', async () => {
    await agree(
      'healthy everywhere',
      () => lab.nodes,
      ({ state }) => state === 'healthy',
    );
    const hasAll = ({ health }: LabNode): boolean => {
      const matrix = health.matrix();
      return lab.nodes.every(({ name }) => matrix.row(name) !== undefined);
    };
    await eventually('every row at every node', () => lab.nodes.every(hasAll) || undefined, LIMIT);
  });

  const says = (expected: readonly Expected[], verdicts: readonly HealthVerdict[]): boolean =>
    verdicts.length === expected.length &&
    expected.every(({ fault, isPlace, isLoss = () => true }) =>
      verdicts.some((found) => found.fault === fault && isPlace(found.place) && isLoss(found.lossPoint)),
    );

  for (const { what, broken, expected, set } of steps) {
    it(`name ${what}, all of them and nothing else, and take it back when it heals`, async (t) => {
      const begun = performance.now();
      const tell = (what: string): void =>
        t.diagnostic(`${what} after ${Math.round(performance.now() - begun)} ms`);
      await set(true);
      try {
        await agree(
          what,
          () => watchers(broken),
          ({ verdicts }) => says(expected, verdicts),
        );
        tell('named by all');
      } finally {
        await set(false);
      }
      await agree(
        `${what}, healed`,
        () => lab.nodes,
        ({ verdicts }) => verdicts.length === 0,
      );
      tell('taken back by all');
    });
  }
}

describe(`${LARGE.nodes} nodes in one process, broken and healed on a script`, { skip: bpfOrSkip() }, () => {
  const lab = new HealthLab(LARGE);

  follow(lab, [
    {
      what: 'a node that is off the network',
      broken: [7],
      expected: [{ fault: 'node-down', isPlace: at(7) }],
      set: (isBroken) => lab.setLink(7, !isBroken),
    },
    {
      what: 'two nodes between which nothing passes',
      broken: [],
      expected: [{ fault: 'node-down', isPlace: between(2, 5) }],
      set: (isBroken) => lab.setPair(2, 5, !isBroken),
    },
    {
      what: 'two nodes between which nothing passes in one direction',
      broken: [],
      expected: [{ fault: 'node-down', isPlace: between(3, 6) }],
      set: (isBroken) => lab.setWay(3, 6, !isBroken),
    },
    {
      what: 'a node that answers requests but no echo',
      broken: [],
      expected: [{ fault: 'icmp-filtered', isPlace: at(4) }],
      set: (isBroken) => lab.setEcho(4, !isBroken),
    },
    {
      what: 'two faults at once',
      broken: [8],
      expected: [
        { fault: 'node-down', isPlace: at(8) },
        { fault: 'icmp-filtered', isPlace: at(9) },
      ],
      set: (isBroken) => Promise.all([lab.setLink(8, !isBroken), lab.setEcho(9, !isBroken)]),
    },
  ]);
});

describe(`${SMALL.nodes} nodes in one process that find out causes, broken and healed on a script`, {
  skip: bpfOrSkip(),
}, () => {
  const lab = new HealthLab(SMALL);

  const sizesTo = (i: number): (number | undefined)[] =>
    lab.nodes.toSpliced(i, 1).flatMap(({ health }) =>
      health
        .trackers()
        .filter(({ path, mtu }) => path.peer === `n${i}` && mtu !== undefined)
        .map(({ mtu }) => mtu?.bytes),
    );

  follow(lab, [
    {
      what: "a node whose endpoint's policy denies echoes",
      broken: [],
      expected: [
        {
          fault: 'policy-drop',
          isPlace: at(1),
          isLoss: (point) => point?.node === 'n1' && /^Policy denied/.test(point.reason ?? ''),
        },
      ],
      set: (isBroken) => lab.setEchoPolicy(1, isBroken),
    },
    {
      what: 'a node whose agent has died',
      broken: [10],
      expected: [{ fault: 'agent-hung', isPlace: at(10) }],
      set: (isBroken) => lab.setAgent(10, !isBroken),
    },
    {
      what: 'a node that loses 30 % of what is sent to it',
      broken: [],
      expected: [{ fault: 'loss', isPlace: at(11) }],
      set: (isBroken) => lab.setLoss(11, isBroken ? 0.3 : 0),
    },
    {
      what: 'a node to which long packets vanish',
      broken: [12],
      expected: [{ fault: 'mtu-black-hole', isPlace: at(12) }],
      set: (isBroken) => lab.setHole(12, isBroken ? NARROW_BYTES : undefined),
    },
  ]);

  it('know the size of packets that every link takes', async () => {
    const known = (): boolean =>
      lab.nodes.every((_, i) => {
        const sizes = sizesTo(i);
        return sizes.length >= SMALL.nodes - 1 && sizes.every((bytes) => bytes === LINK_BYTES);
      });
    await eventually('all sizes', () => known() || undefined, LIMIT);
  });

  it('know that a link takes shorter packets than others when a router says so, and call it no fault', async () => {
    await lab.setMtu(13, NARROW_BYTES);
    try {
      await eventually(
        'the shorter size at all',
        () => sizesTo(13).every((bytes) => bytes === NARROW_BYTES) || undefined,
        LIMIT,
      );
      const wrong = lab.nodes.filter(({ health }) => health.diagnosis().verdicts.length > 0);
      assert.deepEqual(
        wrong.map(({ name }) => name),
        [],
      );
    } finally {
      await lab.setMtu(13, undefined);
    }
  });
});
