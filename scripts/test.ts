/**
 * Runs the tests: `node scripts/test.ts [--suite unit|e2e|nightly] [PATH...]`. Paths are files or folders under test/.
 * The output ends with the summary of Node's test runner, and what was skipped stands before it, by reason.
 */
import { globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { parseArgs } from 'node:util';

/** The longest that the unit suite may take on two cores; the end-to-end suite has a machine's patience. */
const SUITE_LIMIT_MS = { unit: 15 * 60_000, e2e: 40 * 60_000, nightly: 60 * 60_000 } as const;
const FILE_LIMIT_MS = { unit: 150_000, e2e: 15 * 60_000, nightly: 30 * 60_000 } as const;
/** Tests of the datapath and the lab make namespaces and processes: more at once only makes them wait for each other. */
const CONCURRENCY = { unit: 2, e2e: 1, nightly: 1 } as const;
/** Tests that find more the longer they run: the nightly suite is these, and how much it asks of them. */
const NIGHTLY = {
  files: [
    'test/policy/language-engines.test.ts',
    'test/policy/three-engines.test.ts',
    'test/health/locate-accuracy.test.ts',
    'test/health/death.test.ts',
    'test/e2e/health-faults.test.ts',
  ],
  /**
   * (policy, packet) pairs; rounds of a cluster's matrix without a fault; clusters with faults, and with
   * a death, of each kind; trials of each
   * fault between real nodes.
   */
  environment: {
    CILIATE_POLICY_PAIRS: '1000000',
    CILIATE_HEALTH_ROUNDS: '1000000',
    CILIATE_HEALTH_CLUSTERS: '500',
    CILIATE_HEALTH_DEATHS: '100',
    CILIATE_HEALTH_TRIALS: '20',
  },
} as const;

type Suite = keyof typeof SUITE_LIMIT_MS;
type TestEvent = { type: string; data: Record<string, unknown> };

function isSuite(name: string): name is Suite {
  return name in SUITE_LIMIT_MS;
}

function filesOf(path: string): string[] {
  if (statSync(path).isFile()) return [path];
  return globSync(join(path, '**/*.test.ts'));
}

function selectFiles(suite: Suite, paths: readonly string[]): string[] {
  if (suite === 'nightly' && paths.length === 0) return [...NIGHTLY.files];
  const isE2e = (file: string): boolean => file.includes('test/e2e/');
  if (paths.length > 0) return paths.flatMap(filesOf).sort();
  return globSync('test/**/*.test.ts')
    .filter((file) => isE2e(file) === (suite === 'e2e'))
    .sort();
}

function skippedText(skipped: ReadonlyMap<string, string[]>): string {
  const lines = ['', 'Skipped, and why:'];
  for (const [reason, names] of skipped) {
    lines.push(`  ${reason}`);
    for (const name of names) lines.push(`    - ${name}`);
  }
  return `${lines.join('\n')}\n\n`;
}

/** Passes events on, and puts the list of skipped tests before the runner's final counts. */
async function* withSkipped(source: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  const skipped = new Map<string, string[]>();
  for await (const event of source) {
    const { type, data } = event;
    if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) {
      const reason = typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given';
      skipped.set(reason, [...(skipped.get(reason) ?? []), String(data.name)]);
    }
    const isCount = type === 'test:diagnostic' && /^tests \d+$/.test(String(data.message));
    if (isCount && skipped.size > 0) yield { type: 'test:stdout', data: { message: skippedText(skipped) } };
    yield event;
  }
}

function main(): void {
  const { values, positionals } = parseArgs({
    options: { suite: { type: 'string', default: 'unit' } },
    allowPositionals: true,
  });
  const suite = values.suite;
  if (!isSuite(suite)) throw new Error(`--suite is unit, e2e or nightly, not ${JSON.stringify(suite)}`);
  if (suite === 'nightly') {
    for (const [name, value] of Object.entries(NIGHTLY.environment)) process.env[name] ??= value;
  }
  const limit = AbortSignal.timeout(SUITE_LIMIT_MS[suite]);
  limit.addEventListener('abort', () => {
    process.exitCode = 1;
    process.stderr.write(`the suite ${suite} took longer than ${SUITE_LIMIT_MS[suite] / 60_000} minutes\n`);
  });
  const events = run({
    files: selectFiles(suite, positionals),
    concurrency: CONCURRENCY[suite],
    timeout: FILE_LIMIT_MS[suite],
    signal: limit,
  });
  events.on('test:fail', () => {
    process.exitCode = 1;
  });
  Readable.from(withSkipped(events)).pipe(new spec()).pipe(process.stdout);
}

main();
