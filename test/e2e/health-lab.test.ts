import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { FaultPlace, HealthVerdict } from '../../src/model/health.ts';
import { HealthLab } from '../support/health-lab.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';

const NODES = Number(process.env.CILIATE_HEALTH_LAB_NODES ?? 64);
const LIMIT = { timeoutMs: 60_000, everyMs: 100 };

/** One line of the script: what breaks, and the one verdict that every healthy node must come to. */
interface Step {
  readonly what: string;
  readonly broken: readonly number[];
  readonly fault: HealthVerdict['fault'];
  readonly isPlace: (place: FaultPlace) => boolean;
  readonly set: (isBroken: boolean) => Promise<void>;
}

describe(`${NODES} nodes in one process, broken and healed on a script`, { skip: rootOrSkip() }, () => {
  const lab = new HealthLab(NODES);

  before(() => lab.start());
  after(() => lab.stop());

  const steps: readonly Step[] = [
    {
      what: 'a node that is off the network',
      broken: [7],
      fault: 'node-down',
      isPlace: (place) => place.kind === 'node' && place.node === 'n7',
      set: (isBroken) => lab.setLink(7, !isBroken),
    },
    {
      what: 'two nodes between which nothing passes',
      broken: [],
      fault: 'node-down',
      isPlace: (place) =>
        place.kind === 'pair' && [place.from, place.to].sort().join(' ') === ['n11', 'n30'].sort().join(' '),
      set: (isBroken) => lab.setPair(11, 30, !isBroken),
    },
    {
      what: 'a node that answers requests but no echo',
      broken: [],
      fault: 'icmp-filtered',
      isPlace: (place) => place.kind === 'node' && place.node === 'n20',
      set: (isBroken) => lab.setEcho(20, !isBroken),
    },
  ];

  const watchers = (broken: readonly number[]): (typeof lab.nodes)[number][] =>
    lab.nodes.filter((_, i) => !broken.includes(i));

  /** Told while it is waited for, so that a failure says what was thought instead. */
  const thoughts = (): string =>
    JSON.stringify(
      lab.nodes.slice(0, 3).map(({ name, health }) => {
        const { state, verdicts } = health.diagnosis();
        return { name, state, verdicts: verdicts.map(({ fault, place }) => ({ fault, place })) };
      }),
    );

  async function agree(what: string, condition: () => boolean): Promise<void> {
    try {
      await eventually(what, () => condition() || undefined, LIMIT);
    } catch (error) {
      throw new Error(`${what}; thought: ${thoughts()}`, { cause: error });
    }
  }

  it('agree that all is well, each from the rows of all', async () => {
    await agree('healthy everywhere', () =>
      lab.nodes.every(({ health }) => health.diagnosis().state === 'healthy'),
    );
    for (const { health } of lab.nodes) {
      const matrix = health.matrix();
      assert.equal(lab.nodes.filter(({ name }) => matrix.row(name) !== undefined).length, NODES);
    }
  });

  for (const { what, broken, fault, isPlace, set } of steps) {
    it(`name ${what}, all of them and nothing else, and take it back when it heals`, async () => {
      await set(true);
      const isNamed = ({ fault: found, place }: HealthVerdict): boolean => found === fault && isPlace(place);
      await agree(what, () =>
        watchers(broken).every(({ health }) => {
          const { verdicts } = health.diagnosis();
          return verdicts.length === 1 && verdicts.every(isNamed);
        }),
      );
      await set(false);
      await agree(`${what}, healed`, () =>
        lab.nodes.every(({ health }) => health.diagnosis().verdicts.length === 0),
      );
    });
  }
});
