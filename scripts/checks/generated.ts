import { type Check, command } from './check.ts';

/** Files that a program writes and that are checked in: each must be what its program writes now. */
export const generatedChecks: readonly Check[] = [
  { name: 'constants fresh', run: () => command(['node', 'scripts/generate-constants.ts', '--check']) },
  { name: 'openapi fresh', run: () => command(['node', 'scripts/openapi.ts', '--check']) },
];
