import { setImmediate as nextTurn } from 'node:timers/promises';

/** Work that gives way to others after each slice of it. */
export type Slices<T> = Generator<undefined, T>;

/** Does all of it at once. */
export function atOnce<T>(work: Slices<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Each slice in a turn of the event loop of its own. @returns undefined: it was not to go on */
async function turnByTurn<T>(
  work: Slices<T>,
  goesOn: () => boolean,
): Promise<{ readonly value: T } | undefined> {
  for (let step = work.next(); ; step = work.next()) {
    if (step.done === true) return { value: step.value };
    await nextTurn();
    if (!goesOn()) return undefined;
  }
}

/**
 * Does it slice by slice, each in a turn of the event loop of its own; what is one slice only is done when this returns.
 * @param goesOn asked before each further slice
 * @returns undefined: it was not to go on
 */
export async function inTurns<T>(work: Slices<T>, goesOn: () => boolean): Promise<T | undefined> {
  return (await turnByTurn(work, goesOn))?.value;
}

/** The same to its end, whatever happens. */
export async function allInTurns<T>(work: Slices<T>): Promise<T> {
  const done = await turnByTurn(work, () => true);
  if (done === undefined) throw new Error('work that always goes on was given up');
  return done.value;
}
