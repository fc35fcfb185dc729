import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

/**
 * The first file of the command line, in source form and in the bundle: keeps compiled code beside itself (never in a
 * folder that others may write), answers `--version` at once, and loads the rest.
 */
const here = import.meta.dirname;
const bundled = !import.meta.filename.endsWith('.ts');
enableCompileCache(bundled ? join(here, 'cache') : join(here, '..', 'node_modules', '.cache', 'ciliate'));

import('./run.ts').then(({ runCli }) => runCli(process.argv.slice(2)));
