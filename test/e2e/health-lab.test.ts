import { after, before, describe, it } from 'node:test';
import type { FaultPlace, HealthDiagnosis, HealthVerdict } from '../../src/model/health.ts';
import { HealthLab, type LabNode } from '../support/health-lab.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';

const NODES = Number(process.env.CILIATE_HEALTH_LAB_NODES ?? 64);
/** All nodes think in one process, which must have time to answer probes besides: it is asked seldom what they think. */
const LIMIT = { timeoutMs: 60_000, everyMs: 500 };

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
        place.kind === 'pair' && [place.from, place.to].sort().join(' ') === ['n2', 'n5'].sort().join(' '),
      set: (isBroken) => lab.setPair(2, 5, !isBroken),
    },
    {
      what: 'a node that answers requests but no echo',
      broken: [],
      fault: 'icmp-filtered',
      isPlace: (place) => place.kind === 'node' && place.node === 'n4',
      set: (isBroken) => lab.setEcho(4, !isBroken),
    },
  ];

  const watchers = (broken: readonly number[]): LabNode[] => lab.nodes.filter((_, i) => !broken.includes(i));

  /** Waits until every one of these nodes thinks so; a failure says what those thought that did not. */
  async function agree(
    what: string,
    nodes: readonly LabNode[],
    thinksSo: (diagnosis: HealthDiagnosis) => boolean,
  ): Promise<void> {
    const others = (): LabNode[] => nodes.filter(({ health }) => !thinksSo(health.diagnosis()));
    try {
      await eventually(what, () => others().length === 0 || undefined, LIMIT);
    } catch (cause) {
      const thoughts = others().map(({ name, health }) => {
        const { state, verdicts, silent } = health.diagnosis();
        return `${name}: ${state} ${JSON.stringify(verdicts.map(({ fault, place }) => [fault, place]))} silent ${silent.length}`;
      });
      throw new Error(`${what}; thought otherwise:\n${thoughts.join('\n')}`, { cause });
    }
  }

  it('agree that all is well, each from the rows of all', async () => {
    await agree('healthy everywhere', lab.nodes, ({ state }) => state === 'healthy');
    const hasAll = ({ health }: LabNode): boolean => {
      const matrix = health.matrix();
      return lab.nodes.every(({ name }) => matrix.row(name) !== undefined);
    };
    await eventually('every row at every node', () => lab.nodes.every(hasAll) || undefined, LIMIT);
  });

  for (const { what, broken, fault, isPlace, set } of steps) {
    it(`name ${what}, all of them and nothing else, and take it back when it heals`, async (t) => {
      const isNamed = ({ fault: found, place }: HealthVerdict): boolean => found === fault && isPlace(place);
      const begun = performance.now();
      const tell = (what: string): void =>
        t.diagnostic(`${what} after ${Math.round(performance.now() - begun)} ms`);
      await set(true);
      try {
        await agree(
          what,
          watchers(broken),
          ({ verdicts }) => verdicts.length === 1 && verdicts.every(isNamed),
        );
        tell('named by all');
      } finally {
        await set(false);
      }
      await agree(`${what}, healed`, lab.nodes, ({ verdicts }) => verdicts.length === 0);
      tell('taken back by all');
    });
  }
});
