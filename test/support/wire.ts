import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { runChecked } from '../../src/base/run.ts';
import { inNetns } from '../../src/lab/host.ts';
import { eventually } from './process.ts';

const COMPILE_LIMIT_MS = 60_000;

/** Compiles `wire.c`. @returns the program's path in `folder` */
export async function compileWire(folder: string): Promise<string> {
  const program = join(folder, 'wire');
  const source = join(import.meta.dirname, 'wire.c');
  await runChecked(['cc', '-O1', '-o', program, source], { timeoutMs: COMPILE_LIMIT_MS });
  return program;
}

/** The end of a wire in a namespace: whole frames out, and all that come in. */
export class Wire {
  readonly #child;
  /** Frames that came in so far. */
  readonly received: Buffer[] = [];
  readonly #answers: string[] = [];
  #ready = false;

  private constructor(argv: readonly string[]) {
    const [program = '', ...rest] = argv;
    this.#child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface(this.#child.stdout).on('line', (line) => {
      if (line.startsWith('got ')) this.received.push(Buffer.from(line.slice(4), 'hex'));
      else if (line === 'ready') this.#ready = true;
      else this.#answers.push(line);
    });
  }

  static async open(program: string, netns: string | undefined, device = 'eth0'): Promise<Wire> {
    const wire = new Wire(inNetns(netns, [program, device]));
    await eventually(`the wire at ${device}`, () => wire.#ready || undefined, { everyMs: 5 });
    return wire;
  }

  /** Sends a frame, or `count` of them with the 32 bits at `offset` counted up. Settles when the kernel has taken all. */
  async send(frame: Uint8Array, count = 1, offset = 0): Promise<void> {
    const before = this.#answers.length;
    this.#child.stdin.write(`${Buffer.from(frame).toString('hex')} ${count} ${offset}\n`);
    const answer = await eventually('frames are sent', () => this.#answers[before], {
      timeoutMs: 60_000,
      everyMs: 5,
    });
    if (answer !== `sent ${count}`) throw new Error(`a frame of ${frame.length} bytes: ${answer}`);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await closed;
  }
}
