/**
 * Runs every static check: `node scripts/check.ts [NAME...]`. Each check speaks only when it fails; the summary names
 * all of them. Exit 1 when one failed.
 */

import { cChecks } from './checks/c.ts';
import { type Check, type CheckResult, command, fails, trackedFiles } from './checks/check.ts';
import { generatedChecks } from './checks/generated.ts';
import { repositoryChecks } from './checks/repository.ts';

const DEPENDENCY_ROOTS = [
  'src',
  'bpf',
  'probes',
  'bugtool',
  'commands',
  'web',
  'bench',
  'test',
  'scripts',
  'bin',
];

function sourceRoots(): string[] {
  const tracked = trackedFiles('*.ts');
  return DEPENDENCY_ROOTS.filter((root) => tracked.some((file) => file.startsWith(`${root}/`)));
}

const checks: readonly Check[] = [
  { name: 'types', run: () => command(['tsc', '-p', 'tsconfig.json']) },
  { name: 'types of the page', run: () => command(['tsc', '-p', 'web/tsconfig.json']) },
  { name: 'lint', run: () => command(['biome', 'check', '--error-on-warnings', '.']) },
  { name: 'layers', run: () => command(['node', '--test', '--test-reporter=dot', 'test/layers.test.ts']) },
  { name: 'cycles', run: () => command(['node', 'node_modules/.bin/depcruise', ...sourceRoots()]) },
  { name: 'dead code', run: () => command(['node', 'node_modules/.bin/knip', '--no-progress']) },
  ...cChecks,
  ...generatedChecks,
  ...repositoryChecks,
];

async function timed(check: Check): Promise<CheckResult & { readonly name: string }> {
  const start = performance.now();
  const result = await check
    .run()
    .catch((error: unknown) => fails(error instanceof Error ? error.message : String(error)));
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const mark = { pass: 'ok  ', fail: 'FAIL', skip: 'skip' }[result.kind];
  process.stdout.write(
    `${mark} ${check.name.padEnd(20)} ${seconds.padStart(6)} s${result.kind === 'skip' ? `  ${result.text}` : ''}\n`,
  );
  if (result.kind === 'fail') process.stdout.write(`${result.text.trimEnd().replace(/^/gm, '     ')}\n`);
  return { ...result, name: check.name };
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !checks.some((check) => check.name === name));
  if (unknown.length > 0) {
    process.stderr.write(
      `no check ${unknown.join(', ')}; there are: ${checks.map((check) => check.name).join(', ')}\n`,
    );
    process.exitCode = 2;
    return;
  }
  const queue = checks.filter((check) => wanted.length === 0 || wanted.includes(check.name));
  const results: Awaited<ReturnType<typeof timed>>[] = [];
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) results.push(await timed(next));
  };
  await Promise.all([worker(), worker()]);
  const failed = results.filter((result) => result.kind === 'fail').map((result) => result.name);
  const skipped = results.filter((result) => result.kind === 'skip').map((result) => result.name);
  process.stdout.write(
    `\n${results.length - failed.length - skipped.length} of ${results.length} checks passed\n`,
  );
  if (skipped.length > 0) process.stdout.write(`skipped: ${skipped.join(', ')}\n`);
  if (failed.length > 0) process.stdout.write(`failed: ${failed.join(', ')}\n`);
  process.exitCode = failed.length > 0 ? 1 : 0;
}

await main();
