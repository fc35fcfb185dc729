import { execFileSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Plugin } from '@oclif/core/config';
import { type BuildOptions, build, type Plugin as EsbuildPlugin } from 'esbuild';
import { commandId, isCommandFile } from '../bin/registry.ts';
import pjson from '../package.json' with { type: 'json' };
import { buildDashboard } from '../web/build.ts';

/**
 * Makes `dist/`: the command line as plain JavaScript, each command run only when it is asked for, with
 * the manifest of all commands, the text of `--help`, and the compiled code of what runs often. It is made beside its
 * place and moved there whole.
 */
const root = resolve(import.meta.dirname, '..');
const target = join(root, 'dist');
const staging = join(root, `dist.new-${process.pid}`);

/** Commands that only ask an agent or read maps: short and run often, so they share the small file. */
const OFTEN =
  /^(?:bpf|config|endpoint|health|identity|ip|map|monitor|node|policy:(?:get|delete|wait)|status|version)(?::|$)/;

/** Ids of all commands with their files, relative to `commands/`. */
const commands = globSync('**/*.ts', { cwd: join(root, 'commands') })
  .filter(isCommandFile)
  .sort()
  .map((file) => ({ id: commandId(file), file }));

/** A table `id -> loader` as source text. */
function table(chosen: typeof commands, load: (file: string) => string): string {
  const lines = chosen.map(({ id, file }) => `[${JSON.stringify(id)}, ${load(file)}]`);
  return lines.join(',\n');
}

const inline = (file: string): string => `() => import(${JSON.stringify(`../commands/${file}`)})`;

/** Puts a fixed table in the place of the module that looks for commands in the folder. */
const fixedRegistry: EsbuildPlugin = {
  name: 'fixed-registry',
  setup(esbuild) {
    esbuild.onLoad({ filter: /\/bin\/registry\.ts$/ }, () => {
      const often = table(
        commands.filter(({ id }) => OFTEN.test(id)),
        inline,
      );
      const rest = commands.filter(({ id }) => !OFTEN.test(id)).map(({ id }) => JSON.stringify(id));
      const contents = `import { createRequire, enableCompileCache } from 'node:module';
        import { join } from 'node:path';
        const seldom = (id) => () => {
          enableCompileCache(join(import.meta.dirname, 'cache'));
          return createRequire(import.meta.filename)('./seldom.cjs').commands.get(id)();
        };
        export function loadRegistry() {
          return new Map([${often}, ...[${rest}].map((id) => [id, seldom(id)])]);
        }`;
      return { contents, loader: 'js', resolveDir: join(root, 'bin') };
    });
  },
};

const REQUIRE = /^const (\w+_\d+) = ((?:__importDefault|__importStar)?\(?require\([^)]+\)\)?);$/gm;

/**
 * Makes oclif's modules load what they require when they first use it: one command needs a fifth of them. Its compiled
 * form names every import `name_1` and reaches into it at each use, so the name can become a call.
 */
const lazyRequires: EsbuildPlugin = {
  name: 'lazy-requires',
  setup(esbuild) {
    esbuild.onLoad({ filter: /\/@oclif\/core\/lib\/.*\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const names = [...source.matchAll(REQUIRE)].map(([, name]) => name ?? '');
      const called = names.reduce(
        (text, name) => text.replace(new RegExp(`(?<!const )\\b${name}\\b`, 'g'), `(${name}())`),
        source,
      );
      const contents = called.replace(REQUIRE, 'let $1_module; const $1 = () => ($1_module ??= $2);');
      return { contents, loader: 'js' };
    });
  },
};

/** oclif's debug lines: a package that looks at the terminal at start, for output that nobody asks for here. */
const noDebug: EsbuildPlugin = {
  name: 'no-debug',
  setup(esbuild) {
    esbuild.onResolve({ filter: /^debug$/ }, () => ({ path: 'debug', namespace: 'no-debug' }));
    esbuild.onLoad({ filter: /.*/, namespace: 'no-debug' }, () => ({
      contents: `const make = () => Object.assign(() => {}, { enabled: false, extend: make });
        module.exports = Object.assign(make, { default: make, enable() {}, disable() {}, enabled: () => false });`,
      loader: 'js',
    }));
  },
};

/**
 * Takes Node's own modules by `require`: an `import` of one reads every property of it, and with them loads what they
 * stand for (Node 24: `node:http` brings the whole of undici, 30 ms of 5).
 */
const requiredBuiltins: EsbuildPlugin = {
  name: 'required-builtins',
  setup(esbuild) {
    esbuild.onResolve({ filter: /^node:/ }, ({ path, namespace }) =>
      namespace === 'builtin' ? { path, external: true } : { path, namespace: 'builtin' },
    );
    esbuild.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
      loader: 'js',
    }));
  },
};

/** The first file is small and takes all else, which is one other file, with its compiled code. */
const twoFiles: EsbuildPlugin = {
  name: 'two-files',
  setup(esbuild) {
    esbuild.onResolve({ filter: /^\.\/run\.ts$/ }, () => ({ path: './run.cjs', external: true }));
  },
};

/**
 * CommonJS in few files: resolving many small ES modules, and the ES loader itself, take longer than most commands. What
 * is imported dynamically still runs only when it is asked for.
 */
const options: BuildOptions = {
  outdir: staging,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  format: 'cjs',
  supported: { 'dynamic-import': false },
  define: {
    'import.meta.dirname': '__dirname',
    'import.meta.filename': '__filename',
    'import.meta.url': '__fileUrl',
  },
  banner: { js: 'const __fileUrl = "file://" + encodeURI(__filename);' },
  platform: 'node',
  target: 'node22',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'linked',
  // Asked for only where oclif looks for a tool chain of its own.
  external: ['typescript', 'ts-node', 'tsx'],
  plugins: [twoFiles, fixedRegistry, noDebug, lazyRequires, requiredBuiltins],
  logLevel: 'warning',
};

async function buildAll(): Promise<void> {
  await build({ ...options, entryPoints: ['main', 'run'].map((name) => join(root, 'bin', `${name}.ts`)) });
  const seldom = table(
    commands.filter(({ id }) => !OFTEN.test(id)),
    inline,
  );
  const stdin = { contents: `export const commands = new Map([${seldom}]);`, resolveDir: join(root, 'bin') };
  await build({ ...options, stdin, entryNames: 'seldom' });
}

/** The dashboard's page, as it is served. */
async function writeDashboard(): Promise<void> {
  const folder = join(staging, 'dashboard');
  await mkdir(folder);
  for (const [name, content] of await buildDashboard()) await writeFile(join(folder, name), content);
}

/** The manifest as oclif writes it, from the sources. */
async function manifest(): Promise<string> {
  const plugin = new Plugin({
    root,
    isRoot: true,
    pjson: pjson as unknown as NonNullable<ConstructorParameters<typeof Plugin>[0]['pjson']>,
    ignoreManifest: true,
    errorOnManifestCreate: true,
  });
  await plugin.load();
  return `${JSON.stringify(plugin.manifest)}\n`;
}

/** Puts the new folder in the place of the old one; another build may do the same at this moment. */
async function swap(triesLeft = 5): Promise<void> {
  const old = `${staging}.old`;
  try {
    if (existsSync(target)) await rename(target, old);
    await rename(staging, target);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (triesLeft === 0 || (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT')) throw error;
    await swap(triesLeft - 1);
  } finally {
    await rm(old, { recursive: true, force: true });
  }
}

function run(args: readonly string[]): string {
  return execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '80' },
  });
}

await rm(staging, { recursive: true, force: true });
await mkdir(staging, { recursive: true });
try {
  await buildAll();
  await writeDashboard();
  await writeFile(join(staging, 'oclif.manifest.json'), await manifest());
  await writeFile(join(staging, 'help.txt'), run([join(staging, 'main.cjs'), '--help']));
  run([join(root, 'scripts', 'warm-bundle.ts'), staging]);
  await swap();
} finally {
  await rm(staging, { recursive: true, force: true });
}
