import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { compiledScript, runCompiled } from './load-compiled.ts';

/**
 * The first file of the command line. From source it loads the rest as modules and keeps what was compiled of them; in
 * the bundle it takes the compiled code that the build left: Node's own cache knows only what is compiled at load,
 * not the functions that run (a sixth of a command's time).
 */
async function main(): Promise<void> {
  const here = import.meta.dirname;
  if (import.meta.filename.endsWith('.ts')) {
    enableCompileCache(join(here, '..', 'node_modules', '.cache', 'ciliate'));
    const { runCli } = await import('./run.ts');
    return runCli(process.argv.slice(2));
  }
  const file = join(here, 'run.cjs');
  const { runCli } = runCompiled<typeof import('./run.ts')>(compiledScript(file), file);
  return runCli(process.argv.slice(2));
}

main();
