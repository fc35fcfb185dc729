import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';

export interface StartedProcess {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Everything it has written so far, both streams. */
  output(): string;
  /** Resolves with the first line that matches; rejects with all output when it ends, or after `timeoutMs`. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<string>;
  /** Ends it by its pid and waits. May be called twice. @returns its exit code, undefined when a signal ended it */
  stop(signal?: NodeJS.Signals): Promise<number | undefined>;
}

const DEFAULT_WAIT_MS = 10_000;
const STOP_WAIT_MS = 5_000;

function matchingLine(text: string, pattern: RegExp): string | undefined {
  return text.split('\n').find((line) => pattern.test(line));
}

/** Starts `argv`, with descriptors from 3 on, and collects what it writes. The caller stops it, also when the test fails (`t.after`). */
export async function startProcess(
  argv: readonly string[],
  options: {
    readonly env?: NodeJS.ProcessEnv;
    readonly cwd?: string;
    readonly inherit?: readonly number[];
  } = {},
): Promise<StartedProcess> {
  const [program = '', ...rest] = argv;
  const { inherit = [], ...more } = options;
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe', ...inherit], ...more });
  let text = '';
  const listeners = new Set<() => void>();
  const grow = (chunk: Buffer): void => {
    text += chunk.toString('utf8');
    for (const listener of listeners) listener();
  };
  child.stdout?.on('data', grow);
  child.stderr?.on('data', grow);
  child.on('close', () => {
    for (const listener of listeners) listener();
  });
  await once(child, 'spawn');
  const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;

  const waitForLine = (pattern: RegExp, timeoutMs = DEFAULT_WAIT_MS): Promise<string> =>
    new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        listeners.delete(look);
        act();
      };
      const fail = (why: string): void =>
        settle(() => reject(new Error(`${argv.join(' ')} ${why} ${pattern}; it wrote:\n${text}`)));
      const look = (): void => {
        const line = matchingLine(text, pattern);
        if (line !== undefined) settle(() => resolve(line));
        else if (ended()) fail('ended before');
      };
      const timer = setTimeout(() => fail(`wrote within ${timeoutMs} ms nothing like`), timeoutMs);
      listeners.add(look);
      look();
    });

  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | undefined> => {
    if (!ended()) {
      const closed = once(child, 'exit');
      child.kill(signal);
      const last = setTimeout(() => child.kill('SIGKILL'), STOP_WAIT_MS);
      await closed;
      clearTimeout(last);
    }
    return child.exitCode ?? undefined;
  };

  return { pid: child.pid ?? 0, child, output: () => text, waitForLine, stop };
}

/** Whether a process of this id is there and no zombie. */
export function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/exe`) && existsSync(`/proc/${pid}/fd`);
}

/** Calls `probe` until it returns something, each `everyMs`. @throws Error with `what` after `timeoutMs` */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
  { timeoutMs = DEFAULT_WAIT_MS, everyMs = 50 } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
