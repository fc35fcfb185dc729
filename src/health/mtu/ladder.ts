import { type EngineEvent, EngineFullError } from '../../../probes/engine/index.ts';
import type { IpFamily } from '../../base/ip.ts';
import { PROBED_MTU_MAX } from '../../model/health.ts';
import {
  type BatchDeps,
  type BatchOptions,
  type RungOutcome,
  SizeBatch,
  type SizeTarget,
} from './size-batch.ts';

export interface LadderOptions extends Omit<BatchOptions, 'isEnough'> {
  /** Bytes of IP; least that must pass, and most that is tried. Defaults: 576 or 1280, and 9000. */
  readonly least?: number | undefined;
  readonly most?: number | undefined;
}

export type PathMtu =
  | {
      readonly kind: 'measured';
      /** Largest IP packet that is answered. */
      readonly mtu: number;
      /**
       * `fits`: all that our own device takes passes. `too-big`: a router says so, as it should. `black-hole`: larger
       * packets vanish without a word.
       */
      readonly verdict: 'fits' | 'too-big' | 'black-hole';
      /** Who said "too big", in text form. */
      readonly saidBy: string | undefined;
      /** Black hole: largest size that vanished, bytes of IP. */
      readonly vanished: number | undefined;
      /** Batches that it took. */
      readonly rounds: number;
    }
  | { readonly kind: 'no-answer'; readonly reason: string };

const LEAST: Readonly<Record<IpFamily, number>> = { 4: 576, 6: 1280 };
/** Ethernet, and Ethernet less what VXLAN, WireGuard, PPPoE and tunnels of clouds take; the same of jumbo frames. */
const USUAL = [1400, 1420, 1450, 1480, 1492, 1500, 8950];
/** Before large packets are said to vanish, none of so many came; of more, where others came after all. */
const SURE_TRIES = [8, 16];

/**
 * The exact MTU of a path, in two batches instead of a search: in steps,
 *
 * 1. sizes that divide the range into as many steps as a step has bytes leave at once, with a small one as control;
 * 2. the largest that was answered and the next one enclose the MTU: every size between leaves at once; where a router
 *    has said what its link takes, that size and the next one are enough, if the one is answered and the other is not;
 * 3. what is larger and was not answered was refused by our device, by a router, or by nobody;
 * 4. before that is called a black hole, it is tried a few times more: packets are lost for other reasons too.
 */
export class MtuLadder {
  readonly #sizes: SizeBatch;

  constructor(deps: BatchDeps) {
    this.#sizes = new SizeBatch(deps);
  }

  /** The engine's events, of which the ladder takes its own. */
  take(events: readonly EngineEvent[]): void {
    this.#sizes.take(events);
  }

  async measure(target: SizeTarget, family: IpFamily, options: LadderOptions = {}): Promise<PathMtu> {
    try {
      const found = await this.#climb(target, family, options);
      return await this.#makeSure(found, target, family, options);
    } catch (error) {
      if (error instanceof EngineFullError) return { kind: 'no-answer', reason: error.message };
      throw error;
    }
  }

  /**
   * Two sizes instead of a ladder: whether the largest of them passes after all, or not even the least does. So a path that
   * is down costs next to nothing. @returns undefined where only the least passes, or the engine has no room
   */
  async ends(
    target: SizeTarget,
    family: IpFamily,
    { least = LEAST[family], most = PROBED_MTU_MAX }: LadderOptions,
  ): Promise<PathMtu | undefined> {
    try {
      const [low, high] = await this.#sizes.send(target, [least, most], { tries: SURE_TRIES[0] });
      if (low?.outcome !== 'answered') return noAnswer(least);
      return high?.outcome === 'answered' ? fits(most) : undefined;
    } catch (error) {
      if (error instanceof EngineFullError) return undefined;
      throw error;
    }
  }

  /** Whether packets of that size pass, which did not before: two sizes instead of a ladder. @param bytes of IP */
  async passes(target: SizeTarget, family: IpFamily, bytes: number): Promise<boolean> {
    try {
      const [, asked] = await this.#sizes.send(target, [LEAST[family], bytes], {});
      return asked?.outcome === 'answered';
    } catch (error) {
      if (error instanceof EngineFullError) return false;
      throw error;
    }
  }

  /**
   * A black hole that was lost by chance is none: the sizes that vanished are sent again, and where one is answered, all of it
   * is measured anew with more of each size. @throws EngineFullError
   */
  async #makeSure(
    first: PathMtu,
    target: SizeTarget,
    family: IpFamily,
    options: LadderOptions,
  ): Promise<PathMtu> {
    const { least = LEAST[family] } = options;
    let found = first;
    for (const tries of SURE_TRIES) {
      if (found.kind !== 'measured' || found.vanished === undefined) return found;
      const { mtu, vanished, rounds } = found;
      const sizes = [least, ...new Set([mtu + 1, vanished])];
      const [low, ...above] = await this.#sizes.send(target, sizes, { ...options, tries });
      if (low?.outcome !== 'answered') return noAnswer(least);
      if (above.every(({ outcome }) => outcome === 'lost')) return { ...found, rounds: rounds + 1 };
      found = await this.#climb(target, family, { ...options, tries });
    }
    return found;
  }

  /** @throws EngineFullError */
  async #climb(target: SizeTarget, family: IpFamily, options: LadderOptions): Promise<PathMtu> {
    const { least = LEAST[family], most = PROBED_MTU_MAX } = options;
    const isEnough = (one: RungOutcome): boolean => saidBetween([one], least, most) !== undefined;
    const first = await this.#sizes.send(target, steps(least, most), { ...options, isEnough });
    const isCut = first.some(isEnough);
    const told = isCut ? await this.#confirm(target, first, { ...options, least, most }) : undefined;
    if (told !== undefined) return told;
    let coarse = isCut ? await this.#sizes.send(target, steps(least, most), options) : first;
    if (coarse[0]?.outcome !== 'answered') {
      // A path that nobody used lately: a batch overruns the queue of those that wait for a neighbour's address.
      await this.#sizes.send(target, [least], options);
      coarse = await this.#sizes.send(target, steps(least, most), options);
    }
    if (coarse[0]?.outcome !== 'answered') return noAnswer(least);
    const low = largestAnswered(coarse);
    const high = coarse.find(({ bytes }) => bytes > low)?.bytes;
    if (high === undefined) return fits(low);
    const between = Array.from({ length: high - low - 1 }, (_, i) => low + 1 + i);
    const fine = between.length === 0 ? [] : await this.#sizes.send(target, [least, ...between], options);
    const mtu = Math.max(low, largestAnswered(fine));
    return { kind: 'measured', mtu, rounds: 2, ...verdictOf([...first, ...coarse, ...fine], mtu) };
  }

  /**
   * Whether the MTU is what routers say, from one narrow link to the next: it is answered, and one byte more is not. (A
   * router says "too big" a few times a second only.) @returns undefined where it is not so. @throws EngineFullError
   */
  async #confirm(
    target: SizeTarget,
    first: readonly RungOutcome[],
    { least, most, ...options }: LadderOptions & { readonly least: number; readonly most: number },
  ): Promise<PathMtu | undefined> {
    let found = saidBetween(first, least, most);
    for (let rounds = 2; found !== undefined; rounds++) {
      const { said: mtu, saidBy } = found;
      const outcomes = await this.#sizes.send(target, [least, mtu, mtu + 1], options);
      const [, isAnswered, isMore] = outcomes.map(({ outcome }) => outcome === 'answered');
      if (isMore) return undefined;
      if (isAnswered)
        return { kind: 'measured', mtu, verdict: 'too-big', saidBy, vanished: undefined, rounds };
      found = saidBetween(outcomes, least, mtu);
    }
    return undefined;
  }

  /**
   * One batch of the sizes that networks usually have, each with the next larger one: exact where a size is answered and
   * the next is refused by somebody. @returns undefined where that is not so, nothing is answered, or the engine has no
   * room for a batch
   */
  async guess(
    target: SizeTarget,
    family: IpFamily,
    options: LadderOptions = {},
  ): Promise<PathMtu | undefined> {
    const sizes = [LEAST[family], ...USUAL.flatMap((mtu) => [mtu, mtu + 1]), PROBED_MTU_MAX];
    let outcomes: readonly RungOutcome[] = [];
    try {
      outcomes = await this.#sizes.send(target, sizes, { tries: 1, ...options });
    } catch (error) {
      if (!(error instanceof EngineFullError)) throw error;
    }
    const mtu = largestAnswered(outcomes);
    const next = outcomes.find(({ bytes }) => bytes === mtu + 1);
    if (mtu === 0 || (mtu < PROBED_MTU_MAX && next?.outcome !== 'own-device' && next?.outcome !== 'too-big'))
      return undefined;
    return { kind: 'measured', mtu, rounds: 1, ...verdictOf(outcomes, mtu) };
  }
}

function noAnswer(least: number): PathMtu {
  return { kind: 'no-answer', reason: `not even ${least} bytes are answered` };
}

function fits(mtu: number): PathMtu {
  return { kind: 'measured', mtu, verdict: 'fits', saidBy: undefined, vanished: undefined, rounds: 1 };
}

/** From least to most in steps of about the root of the range. */
export function steps(least: number, most: number): number[] {
  const count = Math.max(1, Math.ceil(Math.sqrt(most - least)));
  const sizes = Array.from({ length: count + 1 }, (_, i) => least + Math.round((i * (most - least)) / count));
  return [...new Set(sizes)];
}

/** Who said the least of what routers said that their links take, where it lies from `low` to below `high`. */
function saidBetween(outcomes: readonly RungOutcome[], low: number, high: number): RungOutcome | undefined {
  return outcomes
    .filter(({ outcome, said }) => outcome === 'too-big' && said >= low && said < high)
    .reduce<RungOutcome | undefined>(
      (least, one) => (one.said < (least?.said ?? high) ? one : least),
      undefined,
    );
}

function largestAnswered(outcomes: readonly RungOutcome[]): number {
  return outcomes.reduce(
    (most, { bytes, outcome }) => (outcome === 'answered' ? Math.max(most, bytes) : most),
    0,
  );
}

function verdictOf(
  outcomes: readonly RungOutcome[],
  mtu: number,
): Pick<PathMtu & { kind: 'measured' }, 'verdict' | 'saidBy' | 'vanished'> {
  const above = outcomes.filter(({ bytes }) => bytes > mtu);
  const said = above.find(({ outcome }) => outcome === 'too-big');
  if (said !== undefined) return { verdict: 'too-big', saidBy: said.saidBy, vanished: undefined };
  const lost = above.filter(({ outcome }) => outcome === 'lost').map(({ bytes }) => bytes);
  if (lost.length === 0) return { verdict: 'fits', saidBy: undefined, vanished: undefined };
  return { verdict: 'black-hole', saidBy: undefined, vanished: Math.max(...lost) };
}
