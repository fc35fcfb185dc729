import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { after, before, it } from 'node:test';
import type { FaultPlace, HealthDiagnosis, HealthVerdict, LossPoint } from '../../src/model/health.ts';
import type { HealthLab, LabNode } from './health-lab.ts';
import { eventually } from './process.ts';

/** What every healthy node must say. */
export interface Expected {
  readonly fault: HealthVerdict['fault'];
  readonly isPlace: (place: FaultPlace) => boolean;
  readonly isLoss?: (point: LossPoint | undefined) => boolean;
}

/** One line of the script: what breaks, and the verdicts that every healthy node must come to, and no others. */
export interface Step {
  readonly what: string;
  readonly broken: readonly number[];
  readonly expected: readonly Expected[];
  readonly set: (isBroken: boolean) => Promise<unknown>;
  /** What else must be so while it is broken, and what once it is healed. */
  readonly isSeen?: () => boolean;
  readonly isSeenHealed?: () => boolean;
}

/** They are asked seldom what they think: all of them think in this process. */
const LIMIT = { timeoutMs: 300_000, everyMs: 1000 };
const PRECEDENCE = -15;
/** Of what was said in between so much is told. */
const HISTORY_MAX = 8;

export const at =
  (i: number) =>
  (place: FaultPlace): boolean =>
    place.kind === 'node' && place.node === `n${i}`;

export const between =
  (a: number, b: number) =>
  (place: FaultPlace): boolean =>
    place.kind === 'pair' && [place.from, place.to].sort().join(' ') === [`n${a}`, `n${b}`].sort().join(' ');

function textOf({ state, verdicts, silent }: HealthDiagnosis): string {
  const short = verdicts.map(({ fault, place, lossPoint }) => [fault, place, lossPoint?.reason]);
  return `${state} ${JSON.stringify(short)} silent ${silent.length}`;
}

function says(expected: readonly Expected[], verdicts: readonly HealthVerdict[]): boolean {
  return (
    verdicts.length === expected.length &&
    expected.every(({ fault, isPlace, isLoss = () => true }) =>
      verdicts.some((found) => found.fault === fault && isPlace(found.place) && isLoss(found.lossPoint)),
    )
  );
}

/**
 * Waits until every one of these nodes thinks so.
 * @returns what was thought until then, and when first; a failure says it too, and what those think that think otherwise
 */
export async function agree(
  what: string,
  nodes: () => readonly LabNode[],
  thinksSo: (diagnosis: HealthDiagnosis) => boolean,
): Promise<readonly string[]> {
  const begun = performance.now();
  const said = new Map<string, number>();
  const history = (): string[] => [...said].map(([text, ms]) => `after ${ms} ms: ${text}`);
  const differs = ({ health }: LabNode): boolean => {
    const diagnosis = health.diagnosis();
    const text = textOf(diagnosis);
    said.set(text, said.get(text) ?? Math.round(performance.now() - begun));
    return !thinksSo(diagnosis);
  };
  // To ask all of them costs a diagnosis each: those that agree may wait for one that does not.
  let last: LabNode | undefined;
  const anyDiffers = (): boolean => {
    const name = last?.name;
    const first = nodes().filter((node) => node.name === name);
    last = [...first, ...nodes()].find(differs);
    return last !== undefined;
  };
  try {
    await eventually(what, () => !anyDiffers() || undefined, LIMIT);
    return history();
  } catch (cause) {
    const thoughts = nodes()
      .filter(differs)
      .map(({ name, health }) => `${name}: ${textOf(health.diagnosis())}`);
    throw new Error(`${what}; thought otherwise:\n${[...thoughts, ...history()].join('\n')}`, { cause });
  }
}

/** Waits for something that all nodes must come to see. */
export async function seen(what: string, isSeen: () => boolean): Promise<void> {
  await eventually(what, () => isSeen() || undefined, LIMIT);
}

/**
 * What else runs on the machine must not take half of the time of so many nodes: whoever is late to answer is a fault. The
 * scheduler shares time between sessions first, so that this process's own priority would say nothing.
 * @param nice as that of processes
 */
function setPrecedence(nice: number): void {
  try {
    writeFileSync('/proc/self/autogroup', String(nice));
  } catch (error) {
    // A kernel without groups of sessions has no such file (ENOENT), and what is in none has no weight to set (EINVAL): there
    // the scheduler shares time between processes.
    if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EINVAL')))
      throw error;
    setPriority(nice);
  }
}

/** Starts a lab, and stops it at the end: within a `describe`. */
export function startLab(lab: HealthLab): void {
  before(async () => {
    setPrecedence(PRECEDENCE);
    await lab.start();
  });
  after(async () => {
    await lab.stop();
    setPrecedence(0);
  });

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
    await seen('every row at every node', () => lab.nodes.every(hasAll));
  });
}

/** Breaks and heals a lab on a script: within a `describe`. */
export function follow(lab: HealthLab, steps: readonly Step[]): void {
  for (const step of steps) {
    const { what, broken, expected, set } = step;
    it(`name ${what}, all of them and nothing else, and take it back when it heals`, async (t) => {
      const begun = performance.now();
      const tell = (what: string, history: readonly string[]): void => {
        t.diagnostic(`${what} after ${Math.round(performance.now() - begun)} ms`);
        for (const line of history.slice(0, HISTORY_MAX)) t.diagnostic(`  ${line}`);
      };
      const watchers = (): LabNode[] => lab.nodes.filter((_, i) => !broken.includes(i));
      await set(true);
      try {
        const saysSo = ({ verdicts }: HealthDiagnosis): boolean => says(expected, verdicts);
        tell('named by all', await agree(what, watchers, saysSo));
        if (step.isSeen !== undefined) {
          await seen(`${what}, in detail`, step.isSeen);
          tell('seen in detail', await agree(`${what}, still`, watchers, saysSo));
        }
      } finally {
        await set(false);
      }
      const isWell = ({ verdicts }: HealthDiagnosis): boolean => verdicts.length === 0;
      tell('taken back by all', await agree(`${what}, healed`, () => lab.nodes, isWell));
      if (step.isSeenHealed !== undefined) await seen(`${what}, healed, in detail`, step.isSeenHealed);
    });
  }
}
