import { dirname } from 'node:path';
import { type DestinationStream, destination, multistream, pino } from 'pino';
import { errorText } from './errors.ts';
import { makeFolder } from './make-folder.ts';

/** What parts write their log to; pino's logger is one. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Names of workloads and messages of the kernel are not for everybody on the machine. */
const LOG_MODE = 0o640;

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  /** Also append JSON lines to this file; its folder is made. */
  readonly file?: string | undefined;
  /** Whether stdout gets them. Default true. */
  readonly stdout?: boolean | undefined;
  /** Fields of every line. */
  readonly fields?: Readonly<Record<string, unknown>> | undefined;
}

/** Where lines go that nobody wants: tests, library use. */
export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** A logger of JSON lines, written at once (nothing is lost in a crash); a log that cannot be written stops nothing. */
export function createLog(options: LogOptions): Logger {
  const streams: { level: LogLevel; stream: DestinationStream }[] = [];
  if (options.stdout !== false)
    streams.push({ level: options.level, stream: untiring(destination({ fd: 1, sync: true })) });
  const unwritable = options.file === undefined ? undefined : addFile(streams, options.level, options.file);
  const settings = {
    level: options.level,
    base: { ...options.fields },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const log = pino(settings, multistream(streams));
  if (unwritable !== undefined) log.warn({ file: options.file, error: unwritable }, 'no log file');
  return log;
}

/** A full disk or a reader that went away must not end the agent: the line is lost, and the other stream may have it. */
function untiring(stream: ReturnType<typeof destination>): DestinationStream {
  stream.on('error', () => undefined);
  return stream;
}

/** @returns why there is no such file, or undefined */
function addFile(
  streams: { level: LogLevel; stream: DestinationStream }[],
  level: LogLevel,
  file: string,
): string | undefined {
  try {
    makeFolder(dirname(file));
    const stream = destination({ dest: file, sync: true, append: true, mode: LOG_MODE });
    streams.push({ level, stream: untiring(stream) });
    return undefined;
  } catch (error) {
    return errorText(error);
  }
}
