import { spawn } from 'node:child_process';
import { SystemError } from './errors.ts';

export interface RunOptions {
  /** Given on stdin. */
  readonly input?: string | undefined;
  /** After it the whole process group is killed. Default 10 s. */
  readonly timeoutMs?: number | undefined;
  /** Bytes of stdout and of stderr that are kept; what exceeds it is dropped. Default 1 MiB. */
  readonly maxBytes?: number | undefined;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code; undefined when killed by a signal. */
  readonly exitCode: number | undefined;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

function collect(stream: NodeJS.ReadableStream, maxBytes: number): () => string {
  const parts: Buffer[] = [];
  let length = 0;
  stream.on('data', (part: Buffer) => {
    if (length < maxBytes) parts.push(part.subarray(0, maxBytes - length));
    length += part.length;
  });
  return () => Buffer.concat(parts).toString('utf8');
}

/**
 * Runs a program by its argument list (never through a shell) and waits for its end, whatever its exit code.
 * @throws SystemError code COMMAND_MISSING, COMMAND_TIMEOUT
 */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file = '', ...args] = argv;
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'pipe', detached: true });
    const stdout = collect(child.stdout, options.maxBytes ?? MAX_BYTES);
    const stderr = collect(child.stderr, options.maxBytes ?? MAX_BYTES);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, timeoutMs);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(new SystemError(`cannot run ${file}`, { code: 'COMMAND_MISSING', cause }));
    });
    child.on('close', (exitCode) => {
      clearTimeout(timer);
      if (timedOut) {
        reject(
          new SystemError(`${argv.join(' ')}: no end after ${timeoutMs} ms`, { code: 'COMMAND_TIMEOUT' }),
        );
      } else resolve({ stdout: stdout(), stderr: stderr(), exitCode: exitCode ?? undefined });
    });
    // A child that ends without reading its input is judged by its exit code, not by the broken pipe.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/**
 * Runs a program that must succeed.
 * @returns its stdout
 * @throws SystemError code COMMAND_FAILED with what it said on stderr
 */
export async function runChecked(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { stdout, stderr, exitCode } = await run(argv, options);
  if (exitCode === 0) return stdout;
  const said = stderr.trim() || stdout.trim() || 'no message';
  throw new SystemError(`${argv.join(' ')}: exit ${exitCode ?? 'by signal'}: ${said}`, {
    code: 'COMMAND_FAILED',
  });
}
