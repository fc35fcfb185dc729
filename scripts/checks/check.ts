import { execFile, execFileSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

export type CheckResult =
  | { readonly kind: 'pass' }
  | { readonly kind: 'fail'; readonly text: string }
  | { readonly kind: 'skip'; readonly text: string };

export interface Check {
  readonly name: string;
  run(): Promise<CheckResult>;
}

export const passes: CheckResult = { kind: 'pass' };
export const fails = (text: string): CheckResult => ({ kind: 'fail', text });
export const skips = (text: string): CheckResult => ({ kind: 'skip', text });

const COMMAND_LIMIT_MS = 5 * 60_000;
const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024;
const PATH = [join(process.cwd(), 'node_modules/.bin'), process.env.PATH ?? ''].join(delimiter);

/** Runs `argv` with our own tools first on the PATH. Fails with what it printed when its exit is not 0. */
export function command(argv: readonly string[]): Promise<CheckResult> {
  const [program = '', ...rest] = argv;
  const options = {
    env: { ...process.env, PATH, FORCE_COLOR: '0' },
    timeout: COMMAND_LIMIT_MS,
    maxBuffer: OUTPUT_LIMIT_BYTES,
  };
  return new Promise((resolve) => {
    execFile(program, rest, options, (error, stdout, stderr) => {
      if (error === null) resolve(passes);
      else if ('code' in error && error.code === 'ENOENT') resolve(skips(`${program} is not installed`));
      else resolve(fails(`${stdout}${stderr}` || error.message));
    });
  });
}

/** Files under version control that match git's `patterns`, and new ones that are not ignored. */
export function trackedFiles(...patterns: readonly string[]): string[] {
  const arguments_ = [
    '-c',
    'safe.directory=*',
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
    '--',
  ];
  const listing = execFileSync('git', [...arguments_, ...patterns], {
    encoding: 'utf8',
    maxBuffer: OUTPUT_LIMIT_BYTES,
  });
  return [...new Set(listing.split('\0'))].filter((file) => file !== '').sort();
}
