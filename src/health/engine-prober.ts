import { getSystemErrorName } from 'node:util';
import type { EngineEvent, LiveCounts, ProbeEngine } from '../../probes/engine/index.ts';
import type { ProbeReadiness } from '../../probes/types.ts';
import { errorText } from '../base/errors.ts';
import { type LossPoint, type PathEnd, PROBE_KINDS, type ProbePath } from '../model/health.ts';
import type { LossFinder } from './loss/loss-finder.ts';
import type { LossQuestion, PathProber, ProberEvent } from './prober.ts';

/** Index of the engine's origin for each end that probes start from; an end without one is not probed from. */
export type OriginOf = Readonly<Partial<Record<PathEnd, number>>>;

/** Errors of our own kernel's routes: an unreachable or prohibited one, a black hole, or none at all. */
const NO_ROUTE: readonly string[] = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL'];

/** The probe engine as a prober of `icmp` and `echo` paths. */
export class EngineProber implements PathProber {
  readonly #engine: ProbeEngine;
  readonly #origins: OriginOf;
  readonly #losses: Pick<LossFinder, 'find'> | undefined;
  /** By path: why our own kernel did not send a probe, and how many were answered up to then. */
  readonly #refused = new Map<number, { readonly reason: string; readonly answered: number }>();
  #failure: string | undefined;

  constructor(engine: ProbeEngine, origins: OriginOf, losses?: Pick<LossFinder, 'find'>) {
    this.#engine = engine;
    this.#origins = origins;
    this.#losses = losses;
    engine.onEvents((events) => this.#noteErrors(events));
  }

  #noteErrors(events: readonly EngineEvent[]): void {
    for (const { kind, path, errno, offender } of events) {
      if (kind !== 'error' || errno === undefined) continue;
      const name = getSystemErrorName(-errno);
      const { answered } = this.#engine.counts(path);
      if (offender === undefined && NO_ROUTE.includes(name))
        this.#refused.set(path, { reason: `${name}: no route`, answered });
      else this.#refused.delete(path);
    }
  }

  async findLoss(handle: number, question: LossQuestion): Promise<LossPoint | undefined> {
    const counts = this.#engine.counts(handle);
    const refused = this.#refused.get(handle);
    // Since then the kernel has sent probes that were answered: what is lost now is lost elsewhere.
    if (refused !== undefined && refused.answered === counts.answered)
      return { node: question.self, hook: 'socket', leg: 'request', reason: refused.reason };
    return this.#losses?.find({ ...question, handle, counts });
  }

  /** What cannot be probed stays unknown, and says why; other probers go on. */
  async start(): Promise<void> {
    try {
      await this.#engine.start();
    } catch (error) {
      this.#failure = errorText(error);
    }
  }

  stop(): Promise<void> {
    return this.#engine.stop();
  }

  readiness({ kind: index, family }: Pick<ProbePath, 'kind' | 'family'>): ProbeReadiness {
    const kind = PROBE_KINDS[index];
    if (kind === undefined || kind.responder === 'http')
      return { ready: false, reason: 'not probed by packets' };
    const origin = this.#origins[kind.from];
    if (origin === undefined) return { ready: false, reason: `no ${kind.from} to probe from` };
    const ready = this.#engine.readiness(family, kind.responder, origin);
    return this.#failure !== undefined && ready.ready ? { ready: false, reason: this.#failure } : ready;
  }

  open({ kind: index, address }: ProbePath, periodMs: number): number | undefined {
    const kind = PROBE_KINDS[index];
    const responder = kind?.responder === 'echo' ? 'echo' : 'icmp';
    const origin = this.#origins[kind?.from ?? 'host'] ?? 0;
    return this.#engine.tryOpen({ address, responder, origin, periodMs, rotate: true });
  }

  close(handle: number): void {
    this.#refused.delete(handle);
    this.#engine.close(handle);
  }

  pace(handle: number, periodMs: number): void {
    this.#engine.pace(handle, periodMs);
  }

  burst(handle: number, count: number, spacingMs: number): void {
    this.#engine.burst(handle, count, spacingMs);
  }

  read(handle: number, into: LiveCounts): void {
    this.#engine.readCounts(handle, into);
  }

  phasesNs(): undefined {
    return undefined;
  }

  onEvents(listener: (events: readonly ProberEvent[]) => void): void {
    this.#engine.onEvents((events) =>
      listener(events.map((event) => ({ kind: event.kind, handle: event.path, reason: reasonOf(event) }))),
    );
  }
}

/** `EHOSTUNREACH from 10.0.0.1`, `EMSGSIZE, MTU 1400, from 10.0.0.1`. */
function reasonOf({ errno, offender, mtu }: EngineEvent): string | undefined {
  if (errno === undefined) return undefined;
  const size = mtu > 0 ? `, MTU ${mtu}` : '';
  const from = offender === undefined ? ' from our own kernel' : ` from ${offender}`;
  return `${getSystemErrorName(-errno)}${size}${from}`;
}
