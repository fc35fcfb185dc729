import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { CollectEnd, Sink } from './types.ts';

/** Between asking a process group to end and killing it. */
const TERM_GRACE_MS = 1000;
/** How long what a program left running may hold its output open. */
const ORPHAN_GRACE_MS = 500;
const STDERR_CHARS = 4000;

/** Nothing of the caller's environment: no credentials, no surprises of locale or pagers. */
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // Nobody is left in the group.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** SIGTERM to the whole group, SIGKILL a second later, then its output is let go of. */
class GroupStopper {
  readonly #child: ChildProcess;
  readonly #timers: NodeJS.Timeout[] = [];
  stopped = false;

  constructor(child: ChildProcess) {
    this.#child = child;
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    signalGroup(this.#child, 'SIGTERM');
    this.#later(TERM_GRACE_MS, () => this.#kill());
  }

  /** The program ended; others of its group may still hold the pipe. */
  ended(): void {
    this.#later(ORPHAN_GRACE_MS, () => this.#kill());
  }

  #kill(): void {
    signalGroup(this.#child, 'SIGKILL');
    this.#later(100, () => {
      this.#child.stdout?.destroy();
      this.#child.stderr?.destroy();
    });
  }

  #later(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms));
  }

  /** Leaves nothing of the group behind. */
  finish(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    signalGroup(this.#child, 'SIGKILL');
  }
}

/** @returns whether the sink was full */
async function pour(stream: Readable, sink: Sink, stop: () => void): Promise<boolean> {
  let full = false;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (full || (await sink.write(chunk))) continue;
      full = true;
      stop();
    }
  } catch (error) {
    // The stream was let go of by the stopper.
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'))
      throw error;
  }
  return full;
}

function keepStart(stream: Readable): () => string | undefined {
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => {
    if (text.length < STDERR_CHARS) text = (text + part).slice(0, STDERR_CHARS);
  });
  return () => (text === '' ? undefined : text);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/**
 * Runs a program in a process group of its own, its output into the sink as it comes. When the signal is raised or
 * the sink is full, the whole group is ended. Never rejects for the program's sake.
 */
export async function runArgv(argv: readonly string[], sink: Sink, signal: AbortSignal): Promise<CollectEnd> {
  const [file = '', ...args] = argv;
  const child = spawn(file, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: ENVIRONMENT,
    cwd: '/',
  });
  const stopper = new GroupStopper(child);
  const stop = (): void => stopper.stop();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const stderr = keepStart(child.stderr);
  child.once('exit', () => stopper.ended());
  try {
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    const [[exit, killedBy], full] = await Promise.all([closed, pour(child.stdout, sink, stop)]);
    const end = { exit: exit ?? undefined, signal: killedBy ?? undefined, stderr: stderr() };
    if (signal.aborted) return { ...end, outcome: 'interrupted' };
    if (full) return { ...end, outcome: 'truncated', reason: 'its output is longer than the cap' };
    if (exit === 0) return { ...end, outcome: 'ok' };
    return {
      ...end,
      outcome: 'failed',
      reason: exit === null ? `ended by ${killedBy}` : `exit code ${exit}`,
    };
  } catch (error) {
    if (isMissing(error)) return { outcome: 'missing-tool', reason: `${file} is not installed` };
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    stopper.finish();
  }
}
