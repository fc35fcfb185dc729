import type { EventEmitter } from 'node:events';
import { ExitCode, InterruptedError } from '../../src/base/errors.ts';

/** A signal that comes twice, or that a closed terminal and a shell both send, must not cut the taking down short. */
const REPEATED: ReadonlySet<NodeJS.Signals> = new Set(['SIGHUP']);

const STOPPING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const EXITS: Readonly<Partial<Record<NodeJS.Signals, ExitCode>>> = {
  SIGHUP: ExitCode.hangup,
  SIGINT: ExitCode.interrupted,
  SIGPIPE: ExitCode.unread,
  SIGTERM: ExitCode.terminated,
};

/** For commands that leave something behind if they just end: they stop also when nobody reads their output (`| head`). */
export const STOPPING_OR_UNREAD: readonly NodeJS.Signals[] = [...STOPPING, 'SIGPIPE'];

/** Told on the process when a write finds its output closed: `bin/run.ts` tells it. */
const OUTPUT_CLOSED = 'output-closed';
const told: EventEmitter = process;

/** Says that nobody reads the output any more. @returns whether the command wants to tidy up first */
export function tellOutputClosed(): boolean {
  return told.emit(OUTPUT_CLOSED);
}

/**
 * Fires at the first of `signals`, so that what was begun can be taken down; a second SIGINT or SIGTERM ends the process
 * as usual. A write that finds the output closed counts as SIGPIPE where that is among them; the kernel's SIGPIPE does
 * not: it comes for any socket whose other end is gone.
 */
export function interruptSignal(signals: readonly NodeJS.Signals[] = STOPPING): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    controller.abort(new InterruptedError(`interrupted by ${name}`, EXITS[name] ?? ExitCode.interrupted));
  };
  for (const name of signals) {
    if (name === 'SIGPIPE') told.on(OUTPUT_CLOSED, () => onSignal(name));
    else if (REPEATED.has(name)) process.on(name, onSignal);
    else process.once(name, onSignal);
  }
  return controller.signal;
}
