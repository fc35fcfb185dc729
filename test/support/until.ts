import { eventually } from './process.ts';

/** Waits until `condition` holds, asking every few ms. @throws Error when it does not in time */
export async function until(condition: () => boolean, timeoutMs = 15_000): Promise<void> {
  await eventually(condition.toString(), () => condition() || undefined, { timeoutMs, everyMs: 5 });
}
