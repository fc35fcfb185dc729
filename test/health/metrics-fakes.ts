import {
  copyCounts,
  type EngineSelf,
  HISTOGRAM_BUCKETS,
  type LiveCounts,
  noCounts,
} from '../../probes/engine/index.ts';
import type { PathProber, ProberEvent } from '../../src/health/prober.ts';
import { PROBE_KINDS, type ProbePath } from '../../src/model/health.ts';

/** A prober of every kind of path, whose counts and events a test makes. */
export class FakeProber implements PathProber {
  readonly paths = new Map<number, { readonly path: ProbePath; readonly counts: LiveCounts }>();
  readonly #listeners: ((events: readonly ProberEvent[]) => void)[] = [];
  #next = 0;

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  readiness(): { readonly ready: true; readonly mode: string } {
    return { ready: true, mode: 'fake' };
  }

  open(path: ProbePath): number {
    const handle = this.#next++;
    this.paths.set(handle, { path, counts: noCounts() });
    return handle;
  }

  close(handle: number): void {
    this.paths.delete(handle);
  }

  pace(): void {
    // At a test's pace.
  }

  burst(): void {
    // As above.
  }

  read(handle: number, into: LiveCounts): void {
    copyCounts(this.paths.get(handle)?.counts ?? noCounts(), into);
  }

  phasesNs(): undefined {
    return undefined;
  }

  onEvents(listener: (events: readonly ProberEvent[]) => void): void {
    this.#listeners.push(listener);
  }

  /** Outcomes on every path that is chosen: answers with a round trip, or losses. */
  happen(
    chosen: (path: ProbePath) => boolean,
    what: { answers?: number; lost?: number; rttNs?: number },
  ): void {
    const { answers = 0, lost = 0, rttNs = 20_000 } = what;
    const bucket = bucketFor(rttNs);
    for (const { path, counts } of this.paths.values()) {
      if (!chosen(path)) continue;
      counts.sent += answers + lost;
      counts.answered += answers;
      counts.lost += lost;
      counts.rttSumNs += answers * rttNs;
      counts.rttLastNs = answers > 0 ? rttNs : counts.rttLastNs;
      counts.histogram[bucket] = (counts.histogram[bucket] ?? 0) + answers;
    }
  }

  /** Says something of every path that is chosen. */
  tell(chosen: (path: ProbePath) => boolean, kind: ProberEvent['kind']): void {
    const events = [...this.paths]
      .filter(([, { path }]) => chosen(path))
      .map(([handle]) => ({ kind, handle, reason: undefined }));
    for (const listener of this.#listeners) listener(events);
  }
}

function bucketFor(ns: number): number {
  return Math.min(HISTOGRAM_BUCKETS - 1, Math.max(0, Math.floor(4 * Math.log2(ns / 1024))));
}

export function wantsAnswer({ kind }: ProbePath): boolean {
  return PROBE_KINDS[kind]?.expects === 'answer';
}

export const engineSelf: EngineSelf = {
  mode: { 4: { ready: true, mode: 'raw' }, 6: { ready: true, mode: 'raw' } },
  programs: { ready: true, mode: 'bpf' },
  devices: [],
  paths: 1,
  refused: 9,
  shortCuts: 0,
  sent: 100,
  cpuNs: 5e6,
  bpfNs: 1e6,
  ownDrops: 1,
  echoes: 2,
  echoesRefused: 3,
  foreign: 4,
  corrupt: 5,
  deferred: 6,
  lagMaxNs: 7e6,
  clockSteps: 8,
};
