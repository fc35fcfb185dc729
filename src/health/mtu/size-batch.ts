import { constants } from 'node:os';
import type { EngineEvent, EnginePath, ProbeEngine } from '../../../probes/engine/index.ts';
import type { Clock } from '../clock.ts';

export interface BatchDeps {
  readonly engine: Pick<ProbeEngine, 'open' | 'close' | 'burst' | 'counts' | 'wake'>;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
}

/** Whom packets of many sizes are sent to, and from where. */
export type SizeTarget = Pick<EnginePath, 'address' | 'origin'>;

export interface BatchOptions {
  /** Probes of each size. Default 2: one may be lost for another reason. */
  readonly tries?: number | undefined;
  /** How long an answer is waited for. Default 1000. */
  readonly timeoutMs?: number | undefined;
  /** Once the first size was answered, one such outcome is enough to go on with. */
  readonly isEnough?: ((outcome: RungOutcome) => boolean) | undefined;
}

interface Rung {
  readonly bytes: number;
  readonly path: number;
}

export interface RungOutcome {
  readonly bytes: number;
  readonly outcome: 'answered' | 'too-big' | 'own-device' | 'lost';
  readonly saidBy: string | undefined;
  /** `too-big`: what the router says that its link takes, bytes of IP; 0: it does not say. */
  readonly said: number;
}

const TRIES = 2;
const TRY_SPACING_MS = 1;
const TIMEOUT_MS = 1000;
const LOOK_MS = 3;
/** A size that is not answered when its control is, and so many times as long has passed, is not answered at all. */
const PATIENCE = 4;
const PATIENCE_LEAST_MS = 50;
/** Until a batch has left, where the engine may send little. */
const BUDGET_LIMIT_MS = 30_000;

/** Sends packets of many sizes at once, and tells what became of each. */
export class SizeBatch {
  readonly #deps: BatchDeps;
  readonly #errors = new Map<number, EngineEvent>();

  constructor(deps: BatchDeps) {
    this.#deps = deps;
  }

  /** The engine's events, of which a batch takes its own. */
  take(events: readonly EngineEvent[]): void {
    for (const event of events)
      if (event.kind === 'error' && this.#errors.has(event.path)) this.#errors.set(event.path, event);
  }

  /** @param sizes bytes of IP, the first a control that must pass. @throws EngineFullError */
  async send(target: SizeTarget, sizes: readonly number[], options: BatchOptions): Promise<RungOutcome[]> {
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
    let fromMs = beginMs;
    let patienceMs = timeoutMs;
    let isSeen = false;
    let open = rungs;
    while (clock.nowMs() < fromMs + patienceMs && open.length > 0) {
      // Two round trips are less than a few turns of the engine.
      engine.wake();
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
      open = open.filter((rung) => !this.#isDecided(rung));
      const nowMs = clock.nowMs();
      // What waits for the engine's budget is not missing.
      if (nowMs - beginMs < BUDGET_LIMIT_MS && open.some((rung) => !this.#isSent(rung))) fromMs = nowMs;
      const control = rungs[0];
      if (control === undefined || engine.counts(control.path).answered === 0) continue;
      if (rungs.some((rung) => isEnough(this.#outcomeOf(rung)))) return;
      if (isSeen) continue;
      isSeen = true;
      fromMs = nowMs;
      patienceMs = Math.min(timeoutMs, Math.max(PATIENCE_LEAST_MS, PATIENCE * (nowMs - beginMs)));
    }
  }

  #isSent({ path }: Rung): boolean {
    const { sent, failed } = this.#deps.engine.counts(path);
    return sent + failed > 0;
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
