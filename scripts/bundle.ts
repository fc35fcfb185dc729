import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Plugin } from '@oclif/core/config';
import { type BuildOptions, build, type Plugin as EsbuildPlugin } from 'esbuild';
import { commandId, isCommandFile } from '../bin/registry.ts';
import pjson from '../package.json' with { type: 'json' };

/**
 * Makes `dist/`: the command line as a few files of plain JavaScript, each command loaded only when it is asked for, with
 * the manifest of all commands, the text of `--help`, and compiled code already in its cache. It is made beside its
 * place and moved there whole.
 */
const root = resolve(import.meta.dirname, '..');
const target = join(root, 'dist');
const staging = join(root, `dist.new-${process.pid}`);

/** Files of the commands, relative to `commands/`. */
function commandFiles(): string[] {
  return globSync('**/*.ts', { cwd: join(root, 'commands') })
    .filter(isCommandFile)
    .sort();
}

/** Puts a fixed table in the place of the module that looks for commands in the folder. */
const fixedRegistry: EsbuildPlugin = {
  name: 'fixed-registry',
  setup(esbuild) {
    esbuild.onLoad({ filter: /\/bin\/registry\.ts$/ }, () => {
      const entries = commandFiles().map((file) => {
        const path = JSON.stringify(`../commands/${file}`);
        return `[${JSON.stringify(commandId(file))}, () => import(${path})]`;
      });
      const contents = `export function loadRegistry() { return new Map([${entries.join(',\n')}]); }`;
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

/** CommonJS dependencies ask for `require` and their place; each output file provides them. */
const BANNER = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = import.meta.filename, __dirname = import.meta.dirname;',
].join('\n');

const options: BuildOptions = {
  entryPoints: [join(root, 'bin', 'main.ts')],
  outdir: staging,
  // Flat: code that looks for files beside itself finds them from every file.
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node22',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'linked',
  banner: { js: BANNER },
  // Asked for only where oclif looks for a tool chain of its own.
  external: ['typescript', 'ts-node', 'tsx'],
  metafile: true,
  plugins: [fixedRegistry, lazyRequires, requiredBuiltins],
  logLevel: 'warning',
};

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

/** Commands that people run often: their compiled code is put into the cache now. */
const WARM = [
  ['--version'],
  ['status'],
  ['endpoint', 'list'],
  ['identity', 'list'],
  ['policy', 'get'],
  ['ip', 'list'],
  ['node', 'list'],
  ['health', 'status'],
  ['nothing'],
];

function run(args: readonly string[]): string {
  const nowhere = { CILIATE_SOCK: 'unix:///nonexistent', CILIATE_HEALTH_SOCK: 'unix:///nonexistent' };
  try {
    return execFileSync(process.execPath, [join(target, 'main.js'), ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, ...nowhere, NO_COLOR: '1', COLUMNS: '80' },
    });
  } catch (error) {
    // No agent is there: these commands fail, and their code was loaded all the same.
    return String((error as { readonly stdout?: unknown }).stdout ?? '');
  }
}

await rm(staging, { recursive: true, force: true });
await mkdir(staging, { recursive: true });
try {
  await build(options);
  await writeFile(join(staging, 'oclif.manifest.json'), await manifest());
  await rm(target, { recursive: true, force: true });
  await rename(staging, target);
} finally {
  await rm(staging, { recursive: true, force: true });
}
await writeFile(join(target, 'help.txt'), run(['--help']));
for (const args of WARM) run(args);
