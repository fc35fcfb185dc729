import { execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type BenchRow, interleave, median, report, type Variant } from './support/measure.ts';

/**
 * How long `ciliate status` takes beside a bare Node script that makes the same GET and prints the answer, round by
 * round in one run. Two scripts are the baseline: one that imports node:http as modules do, and one that requires it,
 * which Node starts faster. The command runs as installed (the launcher with the bundle, no sources beside it), as in a
 * checkout (the launcher looks for newer sources), and without the launcher.
 */
const ROUNDS = 21;
const root = resolve(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'ciliate-bench-cli-'));
const socket = join(folder, 'ciliate.sock');
const answers = JSON.parse(
  readFileSync(join(root, 'test', 'fixtures', 'cli-golden', 'agent-responses.json'), 'utf8'),
) as Readonly<Record<string, { readonly body?: unknown }>>;

const get = `get({ socketPath: ${JSON.stringify(socket)}, path: '/v1/healthz' }, (response) => {
  let text = '';
  response.setEncoding('utf8').on('data', (part) => { text += part; });
  response.on('end', () => process.stdout.write(text + '\\n'));
});`;
const esm = join(folder, 'bare.mjs');
const cjs = join(folder, 'bare.cjs');
writeFileSync(esm, `import { get } from 'node:http';\n${get}\n`);
writeFileSync(cjs, `const { get } = require('node:http');\n${get}\n`);

/** Milliseconds that a process takes from its start to its end. @throws Error when it does not exit as expected */
function timed(argv: readonly string[], codes: readonly number[]): Promise<number> {
  const [program = '', ...args] = argv;
  const start = process.hrtime.bigint();
  const child = spawn(program, args, { stdio: 'ignore' });
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('exit', (code) => {
      if (codes.includes(code ?? -1)) done(Number(process.hrtime.bigint() - start) / 1e6);
      else fail(new Error(`${argv.join(' ')} exited with ${code}`));
    });
  });
}

function variant(name: string, argv: readonly string[], codes: readonly number[] = [0]): Variant {
  return { name, run: () => timed(argv, codes) };
}

/** The package as it is installed: no checkout around it. @returns its launcher */
function install(): string {
  const place = join(folder, 'package');
  mkdirSync(join(place, 'bin'), { recursive: true });
  copyFileSync(join(root, 'bin', 'ciliate'), join(place, 'bin', 'ciliate'));
  for (const name of ['dist', 'node_modules']) symlinkSync(join(root, name), join(place, name));
  return join(place, 'bin', 'ciliate');
}

async function measure(): Promise<readonly BenchRow[]> {
  const node = process.execPath;
  const launcher = install();
  const status = ['status', '-o', 'json', '--state-dir', folder];
  const variants = [
    variant('import', [node, esm]),
    variant('require', [node, cjs]),
    variant('installed', [launcher, ...status]),
    variant('checkout', [join(root, 'bin', 'ciliate'), ...status]),
    variant('bundle', [node, join(root, 'dist', 'main.cjs'), ...status]),
    // The recorded agent has a failing controller: exit 1.
    variant('brief', [launcher, 'status', '--brief', '--state-dir', folder], [1]),
    variant('version', [launcher, '--version']),
    variant('help', [launcher, '--help']),
    variant('nothing', [node, '-e', '0']),
  ];
  const figures = await interleave(variants, ROUNDS);
  const of = (name: string): number => median(figures.get(name) ?? []);
  const ratio = (what: string, name: string, base: string, aim?: string): BenchRow => ({
    what,
    value: of(name) / of(base),
    unit: 'x',
    ...(aim === undefined ? {} : { aim }),
  });
  return [
    { what: 'bare script, import node:http', value: of('import'), unit: 'ms' },
    { what: 'bare script, require node:http', value: of('require'), unit: 'ms' },
    { what: 'ciliate status -o json, launcher and bundle', value: of('installed'), unit: 'ms' },
    { what: 'ciliate status -o json, bundle without launcher', value: of('bundle'), unit: 'ms' },
    ratio('launcher and bundle / bare script (import)', 'installed', 'import', '<= 1.5'),
    ratio('launcher and bundle / bare script (require)', 'installed', 'require', '<= 1.5'),
    ratio('bundle without launcher / bare script (require)', 'bundle', 'require', '<= 1.5'),
    ratio('launcher in a checkout / bare script (require)', 'checkout', 'require', '<= 1.5'),
    ratio('status --brief, launcher and bundle / bare script (require)', 'brief', 'require', '<= 1.5'),
    ratio('ciliate --version / node -e 0', 'version', 'nothing'),
    ratio('ciliate --help / node -e 0', 'help', 'nothing'),
  ];
}

const server = createServer((request, response) => {
  const answer = answers[request.url ?? ''];
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer?.body ?? 'none'));
});
try {
  execFileSync('make', ['-s', 'bundle'], { cwd: root, stdio: 'inherit' });
  await new Promise<void>((done) => server.listen(socket, done));
  report('Start-up of the command line', await measure());
} finally {
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
