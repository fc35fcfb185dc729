import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { HealthClient } from '../../src/api/health-client.ts';
import type { HealthVerdict } from '../../src/api/schema.ts';
import { errorText } from '../../src/base/errors.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { type HealthFault, healthFaults } from './health-fault-cases.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const NODES = ['node1', 'node2', 'node3'];
/** What a busy machine may add to two rounds before the test fails; how long it took is printed. */
const SPARE_MS = 30_000;
const HEAL_MS = 60_000;
/** Trials of each fault: 3 in every run, 20 in the nightly suite (scripts/test.ts). */
const TRIALS = Number(process.env.CILIATE_HEALTH_TRIALS ?? '3');

/** So many trials tell how long it mostly takes: two rounds at most. */
const TRIALS_FOR_TIME = 20;

/** `policy-drop node node2`, `node-down pair node1 node2`. */
function textOf({ fault, place: { kind, node, from, to } }: HealthVerdict): string {
  return [fault, kind, ...[node, from, to].filter((name) => name !== undefined).sort()].join(' ');
}

/** What is said of the cluster from a fault on, each with its first time. */
class Said {
  readonly #begunMs = performance.now();
  readonly #sayings = new Map<string, number>();

  add(verdicts: readonly HealthVerdict[]): void {
    const text = verdicts.map(textOf).join(', ');
    this.#sayings.set(text, this.#sayings.get(text) ?? this.afterMs());
  }

  afterMs(): number {
    return Math.round(performance.now() - this.#begunMs);
  }

  toString(): string {
    return [...this.#sayings].map(([text, ms]) => `${ms} ms: ${text}`).join('; ');
  }
}

/** Slowness is the machine's own, with three nodes on two cores. */
const isSlow = ({ fault }: HealthVerdict): boolean => fault === 'slow';

/**
 * What is said must be nothing, the fault, or what may be said before it.
 * @returns the verdict once it is all that is said
 */
function rightVerdict(verdicts: readonly HealthVerdict[], fault: HealthFault): HealthVerdict | undefined {
  const right = `${fault.fault} ${fault.where}`;
  const others = verdicts.filter((verdict) => !isSlow(verdict) && textOf(verdict) !== right);
  for (const text of others.map(textOf)) assert.ok(fault.before?.includes(text), `${text} is wrong`);
  return others.length > 0 ? undefined : verdicts.find((verdict) => textOf(verdict) === right);
}

describe('faults between three nodes with the real datapath', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;

  const client = (node: string): HealthClient =>
    new HealthClient({ address: { kind: 'unix', path: lab.node(node).paths.healthSocket }, timeoutMs: 3000 });

  const verdictsOf = async (node: string): Promise<readonly HealthVerdict[]> =>
    (await client(node).diagnosis()).verdicts ?? [];

  before(async () => {
    testLab = await startTestLab(3);
    lab = testLab.lab;
    await healthy('the cluster is well at the start');
  });
  after(() => testLab?.tearDown());

  const isWellAt = async (node: string): Promise<boolean> => {
    const others = NODES.filter((other) => other !== node);
    const pairs = await Promise.all(others.map((other) => client(node).pair(other)));
    const areWell = pairs.every(
      ({ paths }) => (paths ?? []).length > 10 && paths?.every(({ state }) => state === 'reachable'),
    );
    return areWell && (await verdictsOf(node)).every(isSlow);
  };
  /** What is probed seldom is probed meanwhile, so that it heals sooner. */
  const healthy = (what: string): Promise<unknown> =>
    waitFor({ what, timeoutMs: HEAL_MS }, async () => {
      const well = await Promise.allSettled(NODES.map(isWellAt));
      if (well.every((one) => one.status === 'fulfilled' && one.value)) return true;
      const order = { nodes: [], count: 1, 'timeout-ms': 200 };
      await Promise.allSettled(NODES.map((node) => client(node).probeNodes(order, 3000)));
      return undefined;
    });

  /** What node 1 says of a fault that was just made, once that is all. @throws AssertionError for anything else that it says */
  async function named(fault: HealthFault, said: Said): Promise<HealthVerdict> {
    const limits = { what: fault.fault, timeoutMs: 2 * fault.roundMs + SPARE_MS };
    return waitFor(limits, async () => {
      const verdicts = await verdictsOf('node1');
      said.add(verdicts);
      return rightVerdict(verdicts, fault);
    }).catch((cause: unknown) => {
      throw new Error(`${errorText(cause)}; said: ${said}`, { cause });
    });
  }

  /** @throws AssertionError for anything else that is said in that time */
  async function lasts(fault: HealthFault, ms: number): Promise<void> {
    for (const endMs = performance.now() + ms; performance.now() < endMs; await delay(500))
      assert.ok(rightVerdict(await verdictsOf('node1'), fault) !== undefined, `${fault.fault} has gone`);
  }

  for (const fault of healthFaults(() => lab))
    it(`name ${fault.name}, with the reason, and nothing else before, ${TRIALS} times of ${TRIALS}`, async (t) => {
      const tookMs: number[] = [];
      await healthy('all is well before');
      for (let trial = 1; trial <= TRIALS; trial++) {
        const said = new Said();
        await fault.inject();
        try {
          const { 'loss-point': point } = await named(fault, said);
          tookMs.push(said.afterMs());
          t.diagnostic(`trial ${trial}: after ${tookMs.at(-1)} ms; ${said}`);
          if (fault.lost === undefined) assert.equal(point, undefined);
          else {
            assert.match(`${point?.node} ${point?.hook}`, fault.lost.hook);
            assert.match(point?.reason ?? '', fault.lost.reason);
          }
          if (trial === 1) await lasts(fault, fault.lastsMs ?? 0);
        } finally {
          await fault.heal();
        }
        await healthy(`all is well again after trial ${trial}`);
      }
      const median = tookMs.sort((a, b) => a - b)[TRIALS >> 1] ?? Number.NaN;
      if (TRIALS >= TRIALS_FOR_TIME) assert.ok(median <= 2 * fault.roundMs, `${median} ms`);
    });
});
