import { ArchiveWriter } from './archive.ts';
import { type CollectDeps, collect } from './collect.ts';
import { type Output, writeError } from './output-file.ts';
import { Spool } from './spool.ts';
import { type Collector, type CollectorReport, type Manifest, OUTCOMES, type OutcomeKind } from './types.ts';

export interface BugtoolOptions {
  readonly collectors: readonly Collector[];
  readonly output: Output;
  /** Folder inside the archive. */
  readonly root: string;
  readonly node: string;
  readonly version: string;
  /** Raised by Ctrl-C or the deadline of the whole: what was collected is kept. */
  readonly stop: AbortSignal;
  readonly concurrency?: number | undefined;
  readonly onReport?: ((report: CollectorReport, done: number, total: number) => void) | undefined;
}

const CONCURRENCY = 4;
const DEADLINE_MS = 30_000;
export const CAP_BYTES = 32 << 20;

/** What a collector reads, for people. */
export function sourceOf(collector: Collector): string | readonly string[] {
  switch (collector.kind) {
    case 'argv':
      return collector.argv;
    case 'file':
      return collector.file;
    case 'tree':
      return collector.roots;
    case 'api':
      return `GET /v1${collector.apiPath}`;
    case 'call':
    case 'skipped':
      return collector.what;
  }
}

async function runOne(
  collector: Collector,
  add: ArchiveWriter['add'],
  options: BugtoolOptions,
  deps: CollectDeps,
): Promise<CollectorReport> {
  const startedAt = new Date();
  const began = performance.now();
  const spool = new Spool({
    path: collector.path,
    capBytes: collector.capBytes ?? CAP_BYTES,
    redact: !(collector.kind === 'file' && collector.binary === true),
    add,
  });
  const end = await collect(collector, spool, options.stop, {
    ...deps,
    deadlineMs: collector.deadlineMs ?? DEADLINE_MS,
  });
  const empty = spool.bytes === 0 && end.outcome !== 'ok';
  if (!empty) await spool.end();
  return {
    id: collector.id,
    kind: collector.kind,
    source: sourceOf(collector),
    optional: collector.optional === true,
    ...end,
    ...(end.outcome === 'ok' && spool.truncated
      ? { outcome: 'truncated' as const, reason: 'its output is longer than the cap' }
      : {}),
    startedAt: startedAt.toISOString(),
    durationMs: Math.round(performance.now() - began),
    bytes: spool.bytes,
    redactions: spool.redactions,
    files: spool.files,
  };
}

const TOLERATED: readonly OutcomeKind[] = ['missing-tool', 'skipped', 'failed'];

/** What this machine need not have does not make the archive partial. */
function isFine({ outcome, optional, expected }: CollectorReport): boolean {
  return outcome === 'ok' || expected === true || (optional && TOLERATED.includes(outcome));
}

function summarise(reports: readonly CollectorReport[], options: BugtoolOptions, startedAt: Date): Manifest {
  const counts = Object.fromEntries(
    OUTCOMES.map((kind) => [kind, reports.filter(({ outcome }) => outcome === kind).length]),
  ) as Record<OutcomeKind, number>;
  return {
    format: 'ciliate-bugtool/1',
    version: options.version,
    node: options.node,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    complete: reports.every(isFine),
    interrupted: options.stop.aborted,
    counts,
    redactions: reports.reduce((sum, { redactions }) => sum + redactions, 0),
    collectors: [...reports].sort((a, b) => (a.id < b.id ? -1 : 1)),
  };
}

/** Runs all collectors, a few at a time. @throws only when the archive cannot be written; then the others are stopped */
async function runAll(
  writer: ArchiveWriter,
  options: BugtoolOptions,
  deps: CollectDeps,
): Promise<CollectorReport[]> {
  const reports: CollectorReport[] = [];
  const pending = [...options.collectors];
  const broken = new AbortController();
  const stop = AbortSignal.any([options.stop, broken.signal]);
  const add: ArchiveWriter['add'] = (path, content) => writer.add(path, content);
  const worker = async (): Promise<void> => {
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      const report = await runOne(next, add, { ...options, stop }, deps);
      reports.push(report);
      options.onReport?.(report, reports.length, options.collectors.length);
    }
  };
  const guarded = async (): Promise<void> => {
    try {
      await worker();
    } catch (error) {
      pending.length = 0;
      broken.abort(error);
      throw error;
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: options.concurrency ?? CONCURRENCY }, guarded));
  const failure = ends.find((end) => end.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return reports;
}

/**
 * Packs one archive: every collector's output as it comes, the manifest last. It is whole and readable also when
 * the run was stopped half-way.
 * @throws SystemError or NotPermittedError when the archive cannot be written; then nothing is left of it
 */
export async function packBugtool(options: BugtoolOptions, deps: CollectDeps): Promise<Manifest> {
  const startedAt = new Date();
  const { output } = options;
  const writer = new ArchiveWriter(options.root, output.stream);
  try {
    const reports = await runAll(writer, options, deps);
    const manifest = summarise(reports, options, startedAt);
    await writer.add('manifest.json', Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`));
    await writer.finish();
    await output.commit();
    return manifest;
  } catch (error) {
    await output.discard();
    throw writeError(output.name, error);
  }
}
