import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type BenchRow, interleave, median, report, type Variant } from './support/measure.ts';

/**
 * How long `ciliate status` takes beside a bare Node script that makes the same GET and prints the answer, round by
 * round in one run. Two scripts are the baseline: one that imports node:http as modules do, and one that requires it,
 * which Node starts faster.
 */
const ROUNDS = 15;
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

async function measure(): Promise<readonly BenchRow[]> {
  const node = process.execPath;
  const launcher = join(root, 'bin', 'ciliate');
  const state = ['--state-dir', folder];
  const variants = [
    variant('import', [node, esm]),
    variant('require', [node, cjs]),
    // The recorded agent has a failing controller: exit 1.
    variant('brief', [launcher, 'status', '--brief', ...state], [1]),
    variant('status', [launcher, 'status', '-o', 'json', ...state]),
    variant('version', [launcher, '--version']),
    variant('help', [launcher, '--help']),
    variant('nothing', [node, '-e', '0']),
  ];
  const figures = await interleave(variants, ROUNDS);
  const of = (name: string): number => median(figures.get(name) ?? []);
  return [
    { what: 'bare script, import node:http', value: of('import'), unit: 'ms' },
    { what: 'bare script, require node:http', value: of('require'), unit: 'ms' },
    { what: 'ciliate status -o json', value: of('status'), unit: 'ms' },
    {
      what: 'ciliate status / bare script (import)',
      value: of('status') / of('import'),
      unit: 'x',
      aim: '<= 1.5',
    },
    { what: 'ciliate status / bare script (require)', value: of('status') / of('require'), unit: 'x' },
    {
      what: 'ciliate status --brief / bare script (import)',
      value: of('brief') / of('import'),
      unit: 'x',
      aim: '<= 1.5',
    },
    { what: 'ciliate --version / node -e 0', value: of('version') / of('nothing'), unit: 'x' },
    { what: 'ciliate --help / node -e 0', value: of('help') / of('nothing'), unit: 'x' },
  ];
}

const server = createServer((request, response) => {
  const answer = answers[request.url ?? ''];
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer?.body ?? 'none'));
});
try {
  if (!existsSync(join(root, 'dist', 'main.cjs'))) throw new Error('no bundle: run `make bundle` first');
  await new Promise<void>((done) => server.listen(socket, done));
  report('Start-up of the command line', await measure());
} finally {
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
