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

/**
 * A logger of JSON lines, written at once (nothing is lost in a crash); a log that cannot be written stops nothing. The file
 * and its folder are made for the first line: who ends before there is any leaves nothing behind.
 */
export function createLog(options: LogOptions): Logger {
  const { level, file } = options;
  const streams: { level: LogLevel; stream: DestinationStream }[] = [];
  if (options.stdout !== false) streams.push({ level, stream: untiring(destination({ fd: 1, sync: true })) });
  const tell = (error: string): void => log.warn({ file, error }, 'no log file');
  if (file !== undefined) streams.push({ level, stream: new LazyFile(file, tell) });
  const settings = {
    level,
    base: { ...options.fields },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const log = pino(settings, multistream(streams));
  return log;
}

/** A full disk or a reader that went away must not end the agent: the line is lost, and the other stream may have it. */
function untiring(stream: ReturnType<typeof destination>): DestinationStream {
  stream.on('error', () => undefined);
  return stream;
}

const NOWHERE: DestinationStream = { write: () => undefined };

/** A file that is opened for the first line that is written to it. */
class LazyFile implements DestinationStream {
  readonly #file: string;
  readonly #unwritable: (error: string) => void;
  #stream: DestinationStream | undefined;

  /** @param unwritable is told once why there is no such file */
  constructor(file: string, unwritable: (error: string) => void) {
    this.#file = file;
    this.#unwritable = unwritable;
  }

  write(line: string): void {
    const stream = this.#stream ?? this.#open();
    stream.write(line);
  }

  #open(): DestinationStream {
    try {
      makeFolder(dirname(this.#file));
      this.#stream = untiring(destination({ dest: this.#file, sync: true, append: true, mode: LOG_MODE }));
    } catch (error) {
      this.#stream = NOWHERE;
      this.#unwritable(errorText(error));
    }
    return this.#stream;
  }
}
