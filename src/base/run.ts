import { spawn } from 'node:child_process';
import { SystemError } from './errors.ts';

export interface RunOptions {
  /** The process group is killed (SIGKILL) after this long. */
  readonly timeoutMs: number;
  /** What is kept of each stream; the rest is read and dropped, so that the command is not stopped by a full pipe. */
  readonly maxBytes?: number;
  readonly input?: string | Uint8Array;
  /** The whole environment; default: ours. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Kills the process group when it fires. */
  readonly signal?: AbortSignal;
}

/** How a command ended. A non-zero exit, a deadline and a cut output are values: the caller knows what they mean. */
export interface RunResult {
  readonly argv: readonly string[];
  /** undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes dropped over `maxBytes`, both streams. */
  readonly droppedBytes: number;
}

const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/** Collects at most `max` bytes of a stream. */
class CappedBuffer {
  readonly #chunks: Buffer[] = [];
  readonly #max: number;
  #size = 0;
  dropped = 0;

  constructor(max: number) {
    this.#max = max;
  }

  push(chunk: Buffer): void {
    const kept = chunk.subarray(0, Math.max(0, this.#max - this.#size));
    this.#chunks.push(kept);
    this.#size += kept.length;
    this.dropped += chunk.length - kept.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

/** Ends a process group; one that is gone already is no error. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/**
 * Runs `argv` (no shell) in a process group of its own and waits for its end.
 * @throws SystemError code SPAWN_FAILED when the program cannot be started; the errno is in `cause`.
 */
export function run(argv: readonly string[], options: RunOptions): Promise<RunResult> {
  const [program = '', ...rest] = argv;
  const stdout = new CappedBuffer(options.maxBytes ?? DEFAULT_MAX_BYTES);
  const stderr = new CappedBuffer(options.maxBytes ?? DEFAULT_MAX_BYTES);
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      detached: true,
      stdio: 'pipe',
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child.pid);
    }, options.timeoutMs);
    const abort = (): void => killGroup(child.pid);
    options.signal?.addEventListener('abort', abort);
    const finish = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    };
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A command that ends without reading its input closes the pipe: its exit says what happened.
    child.stdin.on('error', () => child.stdin.destroy());
    child.stdin.end(options.input ?? '');
    child.on('error', (cause) => {
      finish();
      reject(new SystemError(`cannot run ${program}`, { code: 'SPAWN_FAILED', cause }));
    });
    child.on('close', (code) => {
      finish();
      resolve({
        argv,
        exitCode: code ?? undefined,
        timedOut,
        stdout: stdout.text(),
        stderr: stderr.text(),
        droppedBytes: stdout.dropped + stderr.dropped,
      });
    });
    if (options.signal?.aborted === true) abort();
  });
}

/**
 * Runs `argv` and returns its standard output.
 * @throws SystemError code COMMAND_FAILED unless it exits 0 in time; the message carries what it said on stderr.
 */
export async function runChecked(argv: readonly string[], options: RunOptions): Promise<string> {
  const result = await run(argv, options);
  if (result.exitCode === 0) return result.stdout;
  const how = result.timedOut
    ? `took longer than ${options.timeoutMs} ms`
    : `exited with ${result.exitCode ?? 'a signal'}`;
  const said = result.stderr.trim() || result.stdout.trim();
  throw new SystemError(`${argv.join(' ')} ${how}${said === '' ? '' : `: ${said}`}`, {
    code: 'COMMAND_FAILED',
  });
}
