import { constants } from 'node:os';
import {
  type EngineEvent,
  EngineFullError,
  type EnginePath,
  type ProbeEngine,
} from '../../../probes/engine/index.ts';
import type { IpFamily } from '../../base/ip.ts';
import type { Clock } from '../clock.ts';

/** What of the engine a ladder uses. */
export type LadderEngine = Pick<ProbeEngine, 'open' | 'close' | 'burst' | 'counts' | 'wake'>;

export interface LadderDeps {
  readonly engine: LadderEngine;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
}

export interface LadderOptions {
  /** Bytes of IP; least that must pass, and most that is tried. Defaults: 576 or 1280, and 9000. */
  readonly least?: number | undefined;
  readonly most?: number | undefined;
  /** Probes of each size. Default 2: one may be lost for another reason. */
  readonly tries?: number | undefined;
  /** How long an answer is waited for. Default 1000. */
  readonly timeoutMs?: number | undefined;
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

interface BatchOptions extends LadderOptions {
  /** Once the first size was answered, one such outcome is enough to go on with. */
  readonly isEnough?: (outcome: RungOutcome) => boolean;
}

interface Rung {
  readonly bytes: number;
  readonly path: number;
}

interface RungOutcome {
  readonly bytes: number;
  readonly outcome: 'answered' | 'too-big' | 'own-device' | 'lost';
  readonly saidBy: string | undefined;
  /** `too-big`: what the router says that its link takes, bytes of IP; 0: it does not say. */
  readonly said: number;
}

const LEAST: Readonly<Record<IpFamily, number>> = { 4: 576, 6: 1280 };
const MOST = 9000;
/** Ethernet, and Ethernet less what VXLAN, WireGuard, PPPoE and tunnels of clouds take; the same of jumbo frames. */
const USUAL = [1400, 1420, 1450, 1480, 1492, 1500, 8950];
const TRIES = 2;
/** Before large packets are said to vanish: of so many in a row, none came. */
const SURE_TRIES = 6;
const TRY_SPACING_MS = 1;
const TIMEOUT_MS = 1000;
const LOOK_MS = 3;
/** A size that is not answered when its control is, and so many times as long has passed, is not answered at all. */
const PATIENCE = 4;
const PATIENCE_LEAST_MS = 50;

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
  readonly #deps: LadderDeps;
  readonly #errors = new Map<number, EngineEvent>();

  constructor(deps: LadderDeps) {
    this.#deps = deps;
  }

  /** The engine's events, of which the ladder takes its own. */
  take(events: readonly EngineEvent[]): void {
    for (const event of events)
      if (event.kind === 'error' && this.#errors.has(event.path)) this.#errors.set(event.path, event);
  }

  async measure(
    target: Pick<EnginePath, 'address' | 'origin'>,
    family: IpFamily,
    options: LadderOptions = {},
  ): Promise<PathMtu> {
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
    target: Pick<EnginePath, 'address' | 'origin'>,
    family: IpFamily,
    { least = LEAST[family], most = MOST }: LadderOptions,
  ): Promise<PathMtu | undefined> {
    try {
      const [low, high] = await this.#batch(target, [least, most], { tries: SURE_TRIES });
      if (low?.outcome !== 'answered') return noAnswer(least);
      return high?.outcome === 'answered' ? fits(most) : undefined;
    } catch (error) {
      if (error instanceof EngineFullError) return undefined;
      throw error;
    }
  }

  /** A black hole that was lost by chance is none. @throws EngineFullError */
  async #makeSure(
    found: PathMtu,
    target: Pick<EnginePath, 'address' | 'origin'>,
    family: IpFamily,
    options: LadderOptions,
  ): Promise<PathMtu> {
    if (found.kind !== 'measured' || found.vanished === undefined) return found;
    const { mtu, vanished, rounds } = found;
    const { least = LEAST[family] } = options;
    const sure = { ...options, tries: SURE_TRIES };
    const [low, ...above] = await this.#batch(target, [least, ...new Set([mtu + 1, vanished])], sure);
    if (low?.outcome !== 'answered') return noAnswer(least);
    if (above.every(({ outcome }) => outcome === 'lost')) return { ...found, rounds: rounds + 1 };
    return this.#climb(target, family, sure);
  }

  /** @throws EngineFullError */
  async #climb(
    target: Pick<EnginePath, 'address' | 'origin'>,
    family: IpFamily,
    options: LadderOptions,
  ): Promise<PathMtu> {
    const { least = LEAST[family], most = MOST } = options;
    const isEnough = (one: RungOutcome): boolean => saidBetween([one], least, most) !== undefined;
    const first = await this.#batch(target, steps(least, most), { ...options, isEnough });
    const isCut = first.some(isEnough);
    const told = isCut ? await this.#confirm(target, first, { ...options, least, most }) : undefined;
    if (told !== undefined) return told;
    let coarse = isCut ? await this.#batch(target, steps(least, most), options) : first;
    if (coarse[0]?.outcome !== 'answered') {
      // A path that nobody used lately: a batch overruns the queue of those that wait for a neighbour's address.
      await this.#batch(target, [least], options);
      coarse = await this.#batch(target, steps(least, most), options);
    }
    if (coarse[0]?.outcome !== 'answered') return noAnswer(least);
    const low = largestAnswered(coarse);
    const high = coarse.find(({ bytes }) => bytes > low)?.bytes;
    if (high === undefined) return fits(low);
    const between = Array.from({ length: high - low - 1 }, (_, i) => low + 1 + i);
    const fine = between.length === 0 ? [] : await this.#batch(target, [least, ...between], options);
    const mtu = Math.max(low, largestAnswered(fine));
    return { kind: 'measured', mtu, rounds: 2, ...verdictOf([...first, ...coarse, ...fine], mtu) };
  }

  /**
   * Whether the MTU is what routers say, from one narrow link to the next: it is answered, and one byte more is not. (A
   * router says "too big" a few times a second only.) @returns undefined where it is not so. @throws EngineFullError
   */
  async #confirm(
    target: Pick<EnginePath, 'address' | 'origin'>,
    first: readonly RungOutcome[],
    { least, most, ...options }: LadderOptions & { readonly least: number; readonly most: number },
  ): Promise<PathMtu | undefined> {
    let found = saidBetween(first, least, most);
    for (let rounds = 2; found !== undefined; rounds++) {
      const { said: mtu, saidBy } = found;
      const outcomes = await this.#batch(target, [least, mtu, mtu + 1], options);
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
    target: Pick<EnginePath, 'address' | 'origin'>,
    family: IpFamily,
    options: LadderOptions = {},
  ): Promise<PathMtu | undefined> {
    const sizes = [LEAST[family], ...USUAL.flatMap((mtu) => [mtu, mtu + 1]), MOST];
    let outcomes: readonly RungOutcome[] = [];
    try {
      outcomes = await this.#batch(target, sizes, { tries: 1, ...options });
    } catch (error) {
      if (!(error instanceof EngineFullError)) throw error;
    }
    const mtu = largestAnswered(outcomes);
    const next = outcomes.find(({ bytes }) => bytes === mtu + 1);
    if (mtu === 0 || (mtu < MOST && next?.outcome !== 'own-device' && next?.outcome !== 'too-big'))
      return undefined;
    return { kind: 'measured', mtu, rounds: 1, ...verdictOf(outcomes, mtu) };
  }

  async #batch(
    target: Pick<EnginePath, 'address' | 'origin'>,
    sizes: readonly number[],
    options: BatchOptions,
  ): Promise<RungOutcome[]> {
    const { engine } = this.#deps;
    const rungs: Rung[] = [];
    try {
      for (const bytes of sizes) {
        const path = engine.open({ ...target, responder: 'icmp', periodMs: 0, packetBytes: bytes });
        rungs.push({ bytes, path });
      }
      for (const { path } of rungs) {
        this.#errors.set(path, NO_ERROR);
        engine.burst(path, options.tries ?? TRIES, TRY_SPACING_MS);
      }
      await this.#settled(rungs, options);
      return rungs.map((rung) => this.#outcomeOf(rung));
    } finally {
      for (const { path } of rungs) {
        this.#errors.delete(path);
        engine.close(path);
      }
    }
  }

  /** Until every size is decided; soon after the control was answered, what is missing is missing. */
  async #settled(
    rungs: readonly Rung[],
    { timeoutMs = TIMEOUT_MS, isEnough = () => false }: BatchOptions,
  ): Promise<void> {
    const { engine, clock } = this.#deps;
    const beginMs = clock.nowMs();
    let endMs = beginMs + timeoutMs;
    let seenMs: number | undefined;
    let open = rungs;
    while (clock.nowMs() < endMs && open.length > 0) {
      // Two round trips are less than a few turns of the engine.
      engine.wake();
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
      open = open.filter((rung) => !this.#isDecided(rung));
      const control = rungs[0];
      if (control === undefined || engine.counts(control.path).answered === 0) continue;
      if (rungs.some((rung) => isEnough(this.#outcomeOf(rung)))) return;
      if (seenMs !== undefined) continue;
      seenMs = clock.nowMs() - beginMs;
      endMs = Math.min(endMs, clock.nowMs() + Math.max(PATIENCE_LEAST_MS, PATIENCE * seenMs));
    }
  }

  /** A refusal is counted before its event says who refused. */
  #isDecided({ path }: Rung): boolean {
    const { answered, failed, lost } = this.#deps.engine.counts(path);
    return answered > 0 || lost > 1 || (failed > 0 && this.#errors.get(path) !== NO_ERROR);
  }

  #outcomeOf({ bytes, path }: Rung): RungOutcome {
    const counts = this.#deps.engine.counts(path);
    const error = this.#errors.get(path);
    if (counts.answered > 0) return { bytes, outcome: 'answered', saidBy: undefined, said: 0 };
    if (error?.errno !== constants.errno.EMSGSIZE)
      return { bytes, outcome: 'lost', saidBy: undefined, said: 0 };
    const own = error.offender === undefined;
    return { bytes, outcome: own ? 'own-device' : 'too-big', saidBy: error.offender, said: error.mtu };
  }
}

const NO_ERROR: EngineEvent = {
  kind: 'answer',
  path: -1,
  atNs: 0,
  errno: undefined,
  offender: undefined,
  mtu: 0,
};

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
