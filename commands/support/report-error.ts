import { closestName } from '../../src/base/did-you-mean.ts';
import { CiliateError, ExitCode, errorText } from '../../src/base/errors.ts';
import { toJsonLine } from '../../src/view/json.ts';
import { printable } from '../../src/view/printable.ts';

/** An error as the CLI tells it. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly exitCode: ExitCode;
  /** Where it was thrown, and where its causes were. */
  readonly stack: string;
  /** Nobody threw it on purpose: the stack is shown without being asked for. */
  readonly unforeseen: boolean;
}

/** What oclif's parser throws: the words of the command are wrong. */
interface ParseError extends Error {
  readonly oclif?: { readonly exit?: number };
  readonly parse?: unknown;
  /** Of NonExistentFlagsError: the flags that do not exist. */
  readonly flags?: readonly string[];
}

/** A message without what oclif's parser puts around it. */
function plain(message: string): string {
  return message.replace(/^Parsing (--\S+) \n\t/, '').replace(/\n?See more help with --help/g, '');
}

/** The messages of oclif's parser that take several lines, in one. */
function oneLine(message: string): string {
  const flags = [...message.matchAll(/^ *Missing required flag (\S+)$/gm)].map(([, name]) => `--${name}`);
  if (flags.length > 0) return `missing ${flags.join(', ')}`;
  const [, flag, needed] =
    /^ *All of the following must be provided when using (--\S+): (.+)$/m.exec(message) ?? [];
  if (flag !== undefined) return `${flag} needs ${needed}`;
  const [, list] = /^Missing \d+ required args?:\n([\s\S]+)$/.exec(message) ?? [];
  if (list === undefined) return message;
  const names = list.split('\n').map((line) => {
    const [, name = line.trim(), options] = /^(\S+)(?: +\(([^)]*)\))?/.exec(line.trim()) ?? [];
    return options === undefined
      ? name.toUpperCase()
      : `${name.toUpperCase()} (${options.replaceAll('|', ', ')})`;
  });
  return `missing ${names.join(', ')}`;
}

function isParseError(error: unknown): error is ParseError {
  return error instanceof Error && ('parse' in error || (error as ParseError).oclif?.exit === ExitCode.usage);
}

function parseReport(error: ParseError, flagNames: readonly string[]): ErrorReport {
  const [head = ''] = plain(error.message).split('\n\n');
  const first = oneLine(head);
  const unknown = (error.flags ?? []).filter((flag) => typeof flag === 'string' && flag.startsWith('-'));
  const close = unknown
    .map((flag) => closestName(flag.replace(/^-+/, ''), flagNames))
    .filter((name) => name !== undefined)
    .map((name) => `--${name}`);
  const message =
    unknown.length === 0 ? first : `unknown flag${unknown.length > 1 ? 's' : ''} ${unknown.join(', ')}`;
  return {
    code: 'USAGE',
    message: message.charAt(0).toLowerCase() + message.slice(1),
    hint:
      close.length === 0 ? 'add --help to see what the command takes' : `did you mean ${close.join(', ')}?`,
    exitCode: ExitCode.usage,
    stack: stackText(error),
    unforeseen: false,
  };
}

/** Our error, also where the parser of flags wrapped it. */
function ownError(error: unknown): CiliateError | undefined {
  if (error instanceof CiliateError) return error;
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof CiliateError ? cause : undefined;
}

function stackText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by ${stackText(error.cause)}`;
}

/** Whether the words of a command ask for stacks: read before they are parsed, for errors. */
export function wantsDebug(argv: readonly string[]): boolean {
  return argv.includes('-D') || argv.includes('--debug');
}

/** Sorts any thrown value into what is said and how the process exits. */
export function errorReport(error: unknown, flagNames: readonly string[] = []): ErrorReport {
  const own = ownError(error);
  if (own !== undefined) {
    const { code, hint, exitCode } = own;
    return { code, message: plain(errorText(own)), hint, exitCode, stack: stackText(own), unforeseen: false };
  }
  if (isParseError(error)) return parseReport(error, flagNames);
  return {
    code: 'INTERNAL',
    message: errorText(error),
    hint: 'this is a fault of ciliate: please report it with the lines above',
    exitCode: ExitCode.internal,
    stack: stackText(error),
    unforeseen: true,
  };
}

/** The report as one JSON object. */
export function errorJson(report: ErrorReport): { readonly error: Readonly<Record<string, unknown>> } {
  const { code, message, hint, exitCode } = report;
  return { error: { code, message, ...(hint === undefined ? {} : { hint }), exitCode } };
}

/** Writes the report to stderr: `Error: …` and `Hint: …`, or one line of JSON. */
export function writeError(
  report: ErrorReport,
  options: { readonly json: boolean; readonly debug: boolean },
): void {
  if (options.json) {
    process.stderr.write(`${toJsonLine(errorJson(report))}\n`);
    return;
  }
  const stack = report.unforeseen || options.debug ? `${report.stack}\n` : '';
  const hint = report.hint === undefined ? '' : `Hint: ${report.hint}\n`;
  process.stderr.write(printable(`${stack}Error: ${report.message}\n${hint}`));
}
