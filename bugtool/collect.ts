import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, errorText } from '../src/base/errors.ts';
import { runArgv } from './argv-runner.ts';
import type {
  ApiCollector,
  CallCollector,
  CollectEnd,
  Collector,
  FileCollector,
  Sink,
  TreeCollector,
} from './types.ts';

/** The agent as far as it is read here. */
export interface AgentReader {
  raw(path: string, timeoutMs?: number): Promise<string>;
}

export interface CollectDeps {
  readonly agent: AgentReader;
}

const CHUNK_BYTES = 256 * 1024;
const FULL: CollectEnd = { outcome: 'truncated', reason: 'its output is longer than the cap' };

/** Rejects as soon as the signal is raised, whatever becomes of the work. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

async function collectFile(collector: FileCollector, sink: Sink, signal: AbortSignal): Promise<CollectEnd> {
  const handle = await open(collector.file, 'r');
  try {
    const { size } = await handle.stat();
    const cap = collector.capBytes ?? Number.POSITIVE_INFINITY;
    const skipped = Math.max(0, size - cap);
    const stream = handle.createReadStream({ start: skipped, highWaterMark: CHUNK_BYTES, autoClose: false });
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      if (!(await sink.write(chunk))) return FULL;
    }
    if (skipped === 0) return { outcome: 'ok' };
    return { outcome: 'truncated', reason: `the first ${skipped} bytes are left out` };
  } finally {
    await handle.close();
  }
}

/** One file's line; a value that cannot be read is said. */
async function treeLine(path: string): Promise<string> {
  try {
    const value = await readFile(path, 'utf8');
    return `${path} = ${value.trimEnd().replaceAll('\n', ' | ')}\n`;
  } catch (error) {
    return `${path} (${errnoOf(error)})\n`;
  }
}

async function* filesBelow(folder: string): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

async function collectTree(collector: TreeCollector, sink: Sink, signal: AbortSignal): Promise<CollectEnd> {
  for (const root of collector.roots) {
    for await (const path of filesBelow(root)) {
      signal.throwIfAborted();
      if (!(await sink.write(Buffer.from(await treeLine(path))))) return FULL;
    }
  }
  return { outcome: 'ok' };
}

async function collectApi(
  collector: ApiCollector,
  sink: Sink,
  signal: AbortSignal,
  { agent }: CollectDeps,
): Promise<CollectEnd> {
  const body = await orAborted(agent.raw(collector.apiPath, collector.deadlineMs), signal);
  return (await sink.write(Buffer.from(body))) ? { outcome: 'ok' } : FULL;
}

async function collectCall(collector: CallCollector, sink: Sink, signal: AbortSignal): Promise<CollectEnd> {
  const work = async (): Promise<CollectEnd> => {
    for await (const text of collector.call(signal)) {
      if (!(await sink.write(Buffer.from(text)))) return FULL;
      // Makers of text may never wait by themselves: the loop must turn for deadlines and Ctrl-C.
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    return { outcome: 'ok' };
  };
  return orAborted(work(), signal);
}

function dispatch(
  collector: Collector,
  sink: Sink,
  signal: AbortSignal,
  deps: CollectDeps,
): Promise<CollectEnd> {
  switch (collector.kind) {
    case 'argv':
      return runArgv(collector.argv, sink, signal);
    case 'file':
      return collectFile(collector, sink, signal);
    case 'tree':
      return collectTree(collector, sink, signal);
    case 'api':
      return collectApi(collector, sink, signal, deps);
    case 'call':
      return collectCall(collector, sink, signal);
    case 'skipped':
      return Promise.resolve({ outcome: 'skipped', reason: collector.reason });
  }
}

/** HTTP status of an error of the API client. */
function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'status' in error ? Number(error.status) || undefined : undefined;
}

function failedEnd(error: unknown): CollectEnd {
  const errno = errnoOf(error);
  if (errno === 'ENOENT') return { outcome: 'skipped', reason: 'it does not exist' };
  // The agent says that this part of it is switched off, or that what it listed a moment ago is gone.
  const status = statusOf(error);
  if (status === 501 || status === 404)
    return { outcome: 'skipped', reason: errorText(error), expected: true };
  return { outcome: 'failed', reason: errorText(error) };
}

/**
 * Runs one collector until it ends, its deadline passes or `stop` is raised. Its failure is a value.
 * @param stop ends the whole run
 */
export async function collect(
  collector: Collector,
  sink: Sink,
  stop: AbortSignal,
  deps: CollectDeps & { readonly deadlineMs: number },
): Promise<CollectEnd> {
  if (stop.aborted) return { outcome: 'interrupted', reason: 'the run was stopped before it began' };
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(new Error('deadline')), deps.deadlineMs);
  const signal = AbortSignal.any([stop, deadline.signal]);
  try {
    const end = await dispatch(collector, sink, signal, deps);
    return end.outcome === 'interrupted' ? { ...end, ...stopped() } : end;
  } catch (error) {
    return signal.aborted ? stopped() : failedEnd(error);
  } finally {
    clearTimeout(timer);
  }

  function stopped(): CollectEnd {
    if (stop.aborted) return { outcome: 'interrupted', reason: 'the run was stopped' };
    return { outcome: 'timeout', reason: `no end after ${deps.deadlineMs} ms` };
  }
}
