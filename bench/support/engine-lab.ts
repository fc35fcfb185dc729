import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemError } from '../../src/base/errors.ts';
import { runChecked } from '../../src/base/run.ts';
import { indexOfDevice, makeAnsweringPair } from './answering-pair.ts';
import type { EngineOutcome, EngineTask } from './engine-child.ts';
import type { MemoryOutcome, MemoryTask } from './memory-child.ts';

const CHILD = join(import.meta.dirname, 'engine-child.ts');
const MEMORY_CHILD = join(import.meta.dirname, 'memory-child.ts');
const LIMIT_MS = 120_000;
const MEMORY_LIMIT_MS = 3_600_000;
const ip = (...words: readonly string[]): Promise<string> => runChecked(['ip', ...words]);

/** Two namespaces with a veth between them: the second one's stack answers for 10.77/16, its programs for `echoAt`. */
export class EngineLab {
  readonly #names = ['a', 'b'].map((end) => `bench-engine-${process.pid}-${end}`);
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-engine-'));
  readonly #devices: number[] = [];
  #responder: ChildProcess | undefined;

  get there(): string {
    return `/run/netns/${this.#names[1]}`;
  }

  get here(): string {
    return `/run/netns/${this.#names[0]}`;
  }

  /** Index of the first one's end. */
  get device(): number {
    return this.#devices[0] ?? 0;
  }

  async setUp(echoAt: readonly string[]): Promise<void> {
    const [a = '', b = ''] = this.#names;
    await makeAnsweringPair(a, b);
    for (const name of [a, b]) this.#devices.push(await indexOfDevice(name));
    if (echoAt.length > 0) await this.#answerEchoes(b, echoAt);
  }

  async #answerEchoes(netns: string, targets: readonly string[]): Promise<void> {
    const task = this.#taskFile({
      mode: 'bpf',
      device: this.#devices[1] ?? 0,
      responder: 'echo',
      targets,
      count: 0,
      serve: '10.99.0.1',
    });
    const argv = [`--net=/run/netns/${netns}`, process.execPath, CHILD, task];
    this.#responder = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#responder.stdout !== null) await once(this.#responder.stdout, 'data');
  }

  #taskFile(task: EngineTask | MemoryTask): string {
    const file = join(this.#folder, `task-${Math.round(performance.now() * 1000)}.json`);
    writeFileSync(file, JSON.stringify(task));
    return `@${file}`;
  }

  /** Runs an engine in the first namespace. */
  async engine(task: Omit<EngineTask, 'device'>): Promise<EngineOutcome> {
    const file = this.#taskFile({ ...task, device: task.mode === 'bpf' ? this.device : 0 });
    const text = await runChecked(['nsenter', `--net=${this.here}`, process.execPath, CHILD, file], {
      timeoutMs: LIMIT_MS,
    });
    return JSON.parse(text) as EngineOutcome;
  }

  /** Keeps paths in the first namespace, with programs. */
  async memory(task: Omit<MemoryTask, 'device'>): Promise<MemoryOutcome> {
    const file = this.#taskFile({ ...task, device: this.device });
    const argv = [`--net=${this.here}`, process.execPath, '--expose-gc', MEMORY_CHILD, file];
    return JSON.parse(
      await runChecked(['nsenter', ...argv], { timeoutMs: MEMORY_LIMIT_MS }),
    ) as MemoryOutcome;
  }

  /** Seconds of CPU of `argv` in the first namespace, told by bash, which waits for it. */
  async cpuSeconds(argv: readonly string[]): Promise<number> {
    const script = 'TIMEFORMAT="%3U %3S"; { time "$@" >/dev/null 2>&1; } 2>&1';
    const text = await runChecked(['nsenter', `--net=${this.here}`, 'bash', '-c', script, 'bash', ...argv], {
      timeoutMs: LIMIT_MS,
    });
    const [user, system] = text.trim().split(' ').map(Number);
    if (user === undefined || system === undefined)
      throw new SystemError(`no times in ${JSON.stringify(text)}`);
    return user + system;
  }

  async cleanUp(): Promise<void> {
    if (this.#responder !== undefined) {
      this.#responder.stdin?.end();
      await once(this.#responder, 'exit');
    }
    for (const name of this.#names) if (existsSync(`/run/netns/${name}`)) await ip('netns', 'delete', name);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** `count` addresses of 10.77/16. */
export function benchTargets(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `10.77.${i >> 8}.${i & 255}`);
}
