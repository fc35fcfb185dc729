import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SystemError } from '../base/errors.ts';
import { makeFolder } from '../base/make-folder.ts';
import { inNetns, netnsPids } from './host.ts';

/** A process as a record on disk can name it: a pid alone may belong to somebody else by the time it is read. */
export interface ProcessRef {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from boot to its start. */
  readonly startTicks: string;
}

const POLL_MS = 25;
const TAIL_BYTES = 4000;

/** Start time of a process that is there and no zombie; undefined otherwise. */
function startTicks(pid: number): string | undefined {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  try {
    // The command's name may hold spaces and brackets: fields are counted from the last bracket.
    const fields = readFileSync(file, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'ENOENT'))
      return undefined;
    throw error;
  }
}

export function processRef(pid: number): ProcessRef | undefined {
  const ticks = startTicks(pid);
  return ticks === undefined ? undefined : { pid, startTicks: ticks };
}

export function isAlive(ref: ProcessRef): boolean {
  return startTicks(ref.pid) === ref.startTicks;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function ended(refs: readonly ProcessRef[], withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (refs.some(isAlive)) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** Asks processes to end, and ends those that have not after `graceMs`. Gone ones are no error. */
export async function stopProcesses(refs: readonly ProcessRef[], graceMs: number): Promise<void> {
  for (const ref of refs.filter(isAlive)) send(ref.pid, 'SIGTERM');
  if (await ended(refs, graceMs)) return;
  for (const ref of refs.filter(isAlive)) send(ref.pid, 'SIGKILL');
  if (!(await ended(refs, graceMs))) {
    const left = refs.filter(isAlive).map(({ pid }) => pid);
    throw new SystemError(`processes ${left.join(', ')} do not end`, { code: 'PROCESS_STUCK' });
  }
}

/** Ends everything that runs in namespaces of a lab: who made them owns what is in them. */
export async function stopNamespaces(netnses: readonly string[], graceMs: number): Promise<void> {
  const pids = (await Promise.all(netnses.map(netnsPids))).flat();
  const refs = pids.map(processRef).filter((ref) => ref !== undefined);
  await stopProcesses(refs, graceMs);
}

/** The words of a process; none when it has gone or is not ours to see. */
function wordsOf(pid: number): readonly string[] {
  try {
    if (readlinkSync(`/proc/${pid}/exe`) !== realpathSync(process.execPath)) return [];
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return [];
    throw error;
  }
}

const DAEMONS = new Set(['agent', 'health-agent', 'proxy']);

/** Whether these are the words of an agent, a health agent or a proxy whose state lies inside `folder`: a path alone may be anybody's. */
function isDaemonOf(folder: string, words: readonly string[]): boolean {
  return (
    words.some((word) => DAEMONS.has(word)) &&
    words.some((word, i) =>
      word === '--state-dir'
        ? words[i + 1]?.startsWith(`${folder}/`)
        : word.startsWith(`--state-dir=${folder}/`),
    )
  );
}

/** The agents, health agents and proxies whose state lies inside `folder`: what a lab without namespaces consists of. */
export function processesOf(folder: string): readonly ProcessRef[] {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  return pids
    .filter((pid) => pid !== process.pid && isDaemonOf(folder, wordsOf(pid)))
    .map(processRef)
    .filter((ref) => ref !== undefined);
}

const OUTPUT_MODE = 0o640;

export interface StartOptions {
  readonly argv: readonly string[];
  readonly netns?: string | undefined;
  /** Both output streams are appended to it; made for its owner and group only, since it may name what an agent knows. */
  readonly outputFile: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Starts a process that outlives us, in its own session.
 * @throws SystemError code COMMAND_MISSING when it cannot be started
 */
export async function startDetached(options: StartOptions): Promise<ProcessRef> {
  makeFolder(dirname(options.outputFile));
  const output = openSync(options.outputFile, 'a', OUTPUT_MODE);
  try {
    const [program = '', ...rest] = inNetns(options.netns, options.argv);
    const child = spawn(program, rest, {
      detached: true,
      stdio: ['ignore', output, output],
      env: options.env ?? process.env,
      cwd: '/',
    });
    await once(child, 'spawn');
    child.unref();
    const ref = child.pid === undefined ? undefined : processRef(child.pid);
    if (ref === undefined) throw new SystemError(`${program} ended at once`, { code: 'COMMAND_FAILED' });
    return ref;
  } catch (cause) {
    throw new SystemError(`cannot start ${options.argv.join(' ')}`, { code: 'COMMAND_MISSING', cause });
  } finally {
    closeSync(output);
  }
}

/** The last lines of a log, for messages. */
export function tailOf(file: string): string {
  if (!existsSync(file)) return '';
  const text = readFileSync(file, 'utf8').slice(-TAIL_BYTES);
  return statSync(file).size > TAIL_BYTES ? text.slice(text.indexOf('\n') + 1) : text;
}

export interface WaitOptions {
  /** What is waited for, as the error says it. */
  readonly what: string;
  readonly timeoutMs: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `probe` until it gives something.
 * @throws SystemError code WAIT_TIMEOUT, or what `probe` throws, or the signal's reason
 */
export async function waitFor<T>(
  options: WaitOptions,
  probe: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > deadline) {
      throw new SystemError(`not within ${options.timeoutMs / 1000} s: ${options.what}`, {
        code: 'WAIT_TIMEOUT',
      });
    }
    await sleep(options.everyMs ?? POLL_MS);
  }
}
