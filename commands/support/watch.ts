import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import * as Flags from '@oclif/core/flags';
import { CiliateError, errorText } from '../../src/base/errors.ts';
import { printable } from '../../src/view/printable.ts';
import { durationFlagFrom } from './duration-flag.ts';
import { interruptSignal } from './interrupt.ts';

const everyFlag = durationFlagFrom({ leastMs: 100, bareUnit: 's' });
const EVERY_MS = 1000;

/** Flags of commands that can go on showing. */
export const watchFlags = {
  watch: Flags.boolean({ char: 'w', description: 'show it again and again until Ctrl-C' }),
  every: everyFlag({ description: 'with --watch: how often (default: 1s)', dependsOn: ['watch'] }),
};

export interface WatchOptions {
  readonly everyMs: number | undefined;
  /** Each text takes the place of the one before, on a terminal; else they follow each other. */
  readonly redraw: boolean;
}

/** As many lines as the terminal has, the last one for what is left out. */
function fitted(text: string, rows: number): string {
  const lines = text.split('\n');
  if (lines.length <= rows) return text;
  return [...lines.slice(0, rows - 1), `... ${lines.length - rows + 1} more lines`].join('\n');
}

/** A screen anew without a flicker: home, and what is left of each line and of the screen erased. */
function screen(text: string): string {
  const rows = process.stdout.rows > 0 ? process.stdout.rows : 24;
  return `\x1b[H${fitted(text, rows).replaceAll('\n', '\x1b[K\n')}\x1b[K\x1b[J`;
}

/**
 * Writes what `make` gives until Ctrl-C. An error of the first ends it; later ones are shown, since an agent may be back soon.
 */
export async function watch(make: () => Promise<string>, options: WatchOptions): Promise<void> {
  const { everyMs = EVERY_MS, redraw } = options;
  const signal = interruptSignal();
  let text = await make();
  if (redraw) process.stdout.write('\x1b[2J');
  for (;;) {
    if (!process.stdout.write(redraw ? screen(text) : text)) await once(process.stdout, 'drain');
    await wait(everyMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    text = await make().catch((error: unknown) => {
      if (!(error instanceof CiliateError)) throw error;
      return printable(`${errorText(error)}\n`);
    });
  }
  if (redraw) process.stdout.write('\n');
}
