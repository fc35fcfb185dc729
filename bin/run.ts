import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tellOutputClosed } from '../commands/support/interrupt.ts';
import { wantsMachineErrors } from '../commands/support/output.ts';
import { errorReport, wantsDebug, writeError } from '../commands/support/report-error.ts';
import pjson from '../package.json' with { type: 'json' };
import { closestName } from '../src/base/did-you-mean.ts';
import { ExitCode, SystemError, UsageError } from '../src/base/errors.ts';
import { loadCommand } from './load-command.ts';
import { loadRegistry, type Registry } from './registry.ts';

/** Global flags that take a value: they may stand before the command's words. */
const VALUE_FLAGS = new Set([
  '-H',
  '--host',
  '--health-host',
  '--state-dir',
  '--bpf-dir',
  '-o',
  '--output',
  '--compat',
]);

/** No command has more words; thousands of arguments may follow them. */
const LONGEST_ID_WORDS = 5;

/** The words of a command line, sorted. */
export interface Words {
  /** Longest run of words that names a command; undefined when none does. */
  readonly id: string | undefined;
  /** Words before the first flag, for messages. */
  readonly words: readonly string[];
  /** Arguments and flags of the command. */
  readonly rest: readonly string[];
}

/** Flags that stand before the first word. */
function leadingFlags(argv: readonly string[]): number {
  let i = 0;
  while (i < argv.length && argv[i]?.startsWith('-') === true) i += VALUE_FLAGS.has(argv[i] ?? '') ? 2 : 1;
  return Math.min(i, argv.length);
}

/** Finds the command: the longest run of leading words that is one; flags before it go to its arguments. */
export function findCommand(argv: readonly string[], ids: Pick<ReadonlySet<string>, 'has'>): Words {
  const start = leadingFlags(argv);
  const after = argv.slice(start);
  const firstFlag = after.findIndex((word) => word.startsWith('-'));
  const words = firstFlag < 0 ? after : after.slice(0, firstFlag);
  for (let n = Math.min(words.length, LONGEST_ID_WORDS); n > 0; n--) {
    const id = words.slice(0, n).join(':');
    if (ids.has(id)) return { id, words, rest: [...argv.slice(0, start), ...after.slice(n)] };
  }
  return { id: undefined, words, rest: argv };
}

/** Says which word is wrong, and the nearest one that stands in its place. */
function unknownCommand(words: readonly string[], registry: Registry): UsageError {
  const paths = [...registry.keys()].map((id) => id.split(':'));
  const below = (depth: number): string[][] =>
    paths.filter((path) => path.length > depth && words.slice(0, depth).every((word, i) => word === path[i]));
  let depth = 0;
  while (depth + 1 < words.length && below(depth + 1).length > 0) depth++;
  const names = [...new Set(below(depth).map((path) => path[depth] ?? ''))];
  const close = closestName(words[depth] ?? '', names);
  const topic = ['ciliate', ...words.slice(0, depth)].join(' ');
  return new UsageError(`unknown command ${JSON.stringify(words.slice(0, depth + 1).join(' '))}`, {
    code: 'UNKNOWN_COMMAND',
    hint: close === undefined ? `see \`${topic} --help\`` : `did you mean \`${topic} ${close}\`?`,
  });
}

function wantsHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).some((word) => word === '--help' || word === '-h');
}

async function runCommand(id: string, rest: readonly string[], registry: Registry): Promise<void> {
  const [Class, { lightConfig }] = await Promise.all([
    loadCommand(id, registry),
    import('./oclif-config.ts'),
  ]);
  const command = new Class([...rest], lightConfig());
  await (command as unknown as { _run(): Promise<unknown> })._run();
}

/** Characters in a line of the prepared help. */
const PREPARED_WIDTH = 80;

/** The text of `--help` that the bundle carries beside itself. */
function preparedHelp(): string | undefined {
  const file = join(import.meta.dirname, 'help.txt');
  return !import.meta.filename.endsWith('.ts') && existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

async function help(words: readonly string[]): Promise<void> {
  const isNarrow = Number(process.env.COLUMNS ?? process.stdout.columns) < PREPARED_WIDTH;
  const prepared = words.length === 0 && !isNarrow ? preparedHelp() : undefined;
  if (prepared !== undefined) {
    process.stdout.write(prepared);
    return;
  }
  const { showHelp } = await import('./help.ts');
  await showHelp(words);
}

/** Flags that say whom the health agent probes. */
const HEALTH_AGENT_FLAGS = ['--nodes', '--agent'];

/** `ciliate health --nodes FILE`, in whichever order: a topic's own flags run the agent that the topic is about. */
export function withoutAlias(argv: readonly string[]): readonly string[] {
  const [topic, ...rest] = argv;
  if (topic !== 'health' || rest[0]?.startsWith('-') !== true) return argv;
  const isAgent = rest.some((word) => HEALTH_AGENT_FLAGS.includes(word.split('=', 1)[0] ?? ''));
  return isAgent ? ['health-agent', ...rest] : argv;
}

/** A topic does nothing with flags: what was meant to be run would be taken for a wish for help. */
function strayFlag(topic: string, rest: readonly string[]): UsageError | undefined {
  const flag = rest.find((word) => word.startsWith('-'))?.split('=', 1)[0];
  if (flag === undefined) return undefined;
  const close = topic === 'health' ? closestName(flag, HEALTH_AGENT_FLAGS) : undefined;
  const alone = '; the health agent alone is `ciliate health --nodes FILE`: `ciliate health-agent --help`';
  return new UsageError(`\`ciliate ${topic}\` takes no flag ${flag} without a command after it`, {
    code: 'USAGE',
    hint:
      close === undefined
        ? `see \`ciliate ${topic} --help\`${topic === 'health' ? alone : ''}`
        : `did you mean ${close}?`,
  });
}

async function dispatch(written: readonly string[]): Promise<void> {
  const argv = withoutAlias(written);
  const registry = loadRegistry();
  if (argv[0] === '--complete') {
    const { complete } = await import('./complete.ts');
    process.stdout.write((await complete(argv.slice(1), registry)).map((word) => `${word}\n`).join(''));
    return;
  }
  const { id, words, rest } = findCommand(argv, registry);
  const topic = words.join(':');
  const isTopic = words.length > 0 && [...registry.keys()].some((known) => known.startsWith(`${topic}:`));
  if (wantsHelp(argv) || words.length === 0 || words[0] === 'help' || (id === undefined && isTopic)) {
    const stray = isTopic && !wantsHelp(argv) ? strayFlag(words.join(' '), rest) : undefined;
    if (stray !== undefined) throw stray;
    const about = words[0] === 'help' ? words.slice(1) : words;
    await help(id === undefined ? about : id.split(':'));
    return;
  }
  if (id === undefined) throw unknownCommand(words, registry);
  await runCommand(id, rest, registry);
}

/** Says on stderr that standard output takes no more: a full disk below a redirection. @returns how to exit */
function tellUnwritable(cause: NodeJS.ErrnoException, argv: readonly string[]): ExitCode {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  const hint = full ? 'free space where the output goes; what was written is cut off' : undefined;
  const error = new SystemError('cannot write to standard output', { code: 'OUTPUT_FAILED', hint, cause });
  writeError(errorReport(error), { json: wantsMachineErrors(argv), debug: wantsDebug(argv) });
  return error.exitCode;
}

/**
 * Ends the process when its output takes no more, unless the command must tidy up first. A reader that closed its end
 * (`| head`) wants no more: that ends it quietly.
 */
function stopWhenUnwritable(stream: NodeJS.WriteStream, argv: readonly string[]): void {
  let seen = false;
  stream.prependListener('error', (error: NodeJS.ErrnoException) => {
    if (seen) return;
    seen = true;
    if (error.code !== 'EPIPE') {
      process.exitCode = stream === process.stdout ? tellUnwritable(error, argv) : ExitCode.systemFailed;
      // oclif's listener, which comes next, throws whatever else it is, and nobody could tidy up.
      error.code = 'EPIPE';
    }
    if (!tellOutputClosed()) process.exit(process.exitCode ?? 0);
  });
}

/** Runs one command line to its end and sets the exit code. Never rejects. */
export async function runCli(argv: readonly string[]): Promise<void> {
  if (argv[0] === '--version') {
    process.stdout.write(`ciliate ${pjson.version}\n`);
    return;
  }
  stopWhenUnwritable(process.stdout, argv);
  stopWhenUnwritable(process.stderr, argv);
  try {
    await dispatch(argv);
  } catch (error) {
    const report = errorReport(error);
    writeError(report, { json: wantsMachineErrors(argv), debug: wantsDebug(argv) });
    process.exitCode = report.exitCode;
  }
}
