/**
 * Runs tests on the addons of build/sanitize: `make sanitize`, or `node scripts/sanitize.ts SANITIZERS [TEST...]` with
 * the sanitizers that they were built with (`address,undefined` or `thread`). Without tests, those of the probe engine
 * and of the other native parts. Exits 1 when a test fails or a sanitizer has something to say.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const TESTS = ['test/probes/*.test.ts', 'test/bpf/addon/*.test.ts', 'test/base/sockets/*.test.ts'];
/** Weighs the process, and puts a runtime of its own before Node. */
const NOT_HERE = ['test/bpf/addon/lifetimes.test.ts'];
const OURS = /(\w+\.node)\+(0x[0-9a-f]+)/;
const FILE_LIMIT_MS = 10 * 60_000;
const HOOK = new URL('./sanitize-hook.ts', import.meta.url).href;

const [sanitizers = 'address,undefined', ...asked] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'sanitize-'));

/** Node is not watched itself: the sanitizer's runtime has to be there before it. */
function runtime(name: string): string {
  return execFileSync('cc', [`-print-file-name=lib${name}.so`], { encoding: 'utf8' }).trim();
}

/** What a run of one file is told; leaks are not looked for, as Node leaves much of its own behind. */
function environment(): NodeJS.ProcessEnv {
  const log = `log_path=${join(folder, 'said')}:abort_on_error=0`;
  return {
    ...process.env,
    LD_PRELOAD: runtime(sanitizers === 'thread' ? 'tsan' : 'asan'),
    NODE_OPTIONS: `--import=${HOOK}`,
    ASAN_OPTIONS: `${log}:detect_leaks=0`,
    // What is undefined ends the process (-fno-sanitize-recover), and so fails the test, with its place on stderr.
    UBSAN_OPTIONS: 'print_stacktrace=1',
    // Node is full of races that it does not have: how it locks is not seen.
    TSAN_OPTIONS: `${log}:report_signal_unsafe=0:exitcode=0`,
  };
}

/** A line of a report, with the place in the source where the runtime did not find it. */
function placed(line: string): string {
  const [, addon = '', address = ''] = OURS.exec(line) ?? [];
  if (addon === '' || !line.includes('<null>')) return line;
  const argv = ['-sfpe', join('build/sanitize', addon), address];
  return line.replace('<null> <null>', execFileSync('addr2line', argv, { encoding: 'utf8' }).trim());
}

/** Of a race: both accesses are Node's own, whose compiler and collector look like races; we only called it. */
function isRaceOfNode(text: string): boolean {
  const stacks = text
    .split(/\n\s*\n/)
    .filter((part) => /^ {2}(?:Previous )?\w*\s?(?:write|read) of size/im.test(part));
  const firsts = stacks.map((stack) =>
    stack.split('\n').find((line) => /^ +#\d/.test(line) && !/lib[a-z]san/.test(line)),
  );
  return firsts.length > 0 && firsts.every((line) => line !== undefined && /\((?:\S*\/)?node\+0x/.test(line));
}

/** Those with an addon in them. */
function reports(): string[] {
  const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  const ours = texts
    .flatMap((text) => text.split(/^={18,}$/m))
    .filter((text) => OURS.test(text) && !isRaceOfNode(text));
  return ours.map((text) => text.split('\n').map(placed).join('\n'));
}

function test(file: string): boolean {
  // The runtime wants fixed places in memory.
  const argv = ['-R', process.execPath, '--test', file];
  const { status } = spawnSync('setarch', argv, {
    stdio: 'inherit',
    env: environment(),
    timeout: FILE_LIMIT_MS,
  });
  return status === 0;
}

const all = TESTS.flatMap((pattern) => globSync(pattern)).filter((file) => !NOT_HERE.includes(file));
const files = asked.length > 0 ? asked : all.sort();
const failed = files.filter((file) => !test(file));
const said = reports();
rmSync(folder, { recursive: true });
for (const text of said) process.stdout.write(text);
console.log(`${files.length} files under ${sanitizers}: ${failed.length} failed, ${said.length} reports`);
for (const file of failed) console.log(`  ${file}`);
if (files.length === 0 || failed.length + said.length > 0) process.exitCode = 1;
