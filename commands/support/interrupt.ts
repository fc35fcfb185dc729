import { SystemError } from '../../src/base/errors.ts';

/** A signal that comes twice, or that a closed terminal and a shell both send, must not cut the taking down short. */
const REPEATED: ReadonlySet<NodeJS.Signals> = new Set(['SIGHUP', 'SIGPIPE']);

const STOPPING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** For commands that leave something behind if they just end: they stop also when nobody reads their output (`| head`). */
export const STOPPING_OR_UNREAD: readonly NodeJS.Signals[] = [...STOPPING, 'SIGPIPE'];

/**
 * Fires at the first of `signals`, so that what was begun can be taken down; a second SIGINT or SIGTERM ends the process
 * as usual. A write that finds the output closed counts as SIGPIPE where that is among them.
 */
export function interruptSignal(signals: readonly NodeJS.Signals[] = STOPPING): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    controller.abort(new SystemError(`interrupted by ${name}`, { code: 'INTERRUPTED' }));
  };
  for (const name of signals) {
    if (REPEATED.has(name)) process.on(name, onSignal);
    else process.once(name, onSignal);
  }
  return controller.signal;
}
