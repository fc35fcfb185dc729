import { SystemError } from '../../src/base/errors.ts';

/** Fires at the first SIGINT or SIGTERM, so that what was begun can be taken down; a second one ends the process as usual. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    controller.abort(new SystemError(`interrupted by ${name}`, { code: 'INTERRUPTED' }));
  };
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  return controller.signal;
}
