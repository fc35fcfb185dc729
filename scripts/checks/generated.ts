import type { Check } from './check.ts';

/** Files that a program writes and that are checked in: each must be what its program writes now. */
export const generatedChecks: readonly Check[] = [];
