import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChecked } from '../../src/base/run.ts';

const SOURCE = join(import.meta.dirname, 'delay.c');

/** A program between the devices `left` and `right` of a namespace: what comes in by one leaves by the other, later. */
export class DelayWire {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-wire-'));
  #wire: ChildProcess | undefined;

  /** @param netns path of the namespace. @param delayUs each way */
  async start(netns: string, delayUs: number): Promise<void> {
    const program = join(this.#folder, 'delay');
    await runChecked(['cc', '-O2', '-o', program, SOURCE], { timeoutMs: 30_000 });
    const words = [netns, 'left', 'right', String(delayUs)];
    this.#wire = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#wire.stdout !== null) await once(this.#wire.stdout, 'data');
  }

  async stop(): Promise<void> {
    if (this.#wire !== undefined) {
      this.#wire.stdin?.end();
      if (this.#wire.exitCode === null) await once(this.#wire, 'exit');
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
