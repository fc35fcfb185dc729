import { CiliateError, ExitCode } from '../base/errors.ts';

/** Why a source of data gave none. */
export type SourceErrorCode =
  | 'SOURCE_UNREACHABLE'
  | 'SOURCE_NOT_PERMITTED'
  | 'SOURCE_TIMEOUT'
  | 'SOURCE_BAD_ANSWER'
  | 'NOT_FOUND'
  | 'API_ERROR';

export interface SourceErrorOptions {
  readonly code: SourceErrorCode;
  /** HTTP status of the answer, if there was one. */
  readonly status?: number | undefined;
  /** What the agent said. */
  readonly text?: string | undefined;
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** A source (an agent's socket, an archive) is unreachable, refuses, or does not have what was asked. */
export class SourceError extends CiliateError {
  readonly status: number | undefined;
  readonly text: string | undefined;

  constructor(message: string, options: SourceErrorOptions) {
    super(message, {
      code: options.code,
      exitCode: exitCodeOf(options.code, options.status),
      hint: options.hint,
      cause: options.cause,
    });
    this.status = options.status;
    this.text = options.text;
  }
}

function exitCodeOf(code: SourceErrorCode, status: number | undefined): ExitCode {
  if (code === 'SOURCE_NOT_PERMITTED' || status === 403) return ExitCode.notPermitted;
  if (code === 'NOT_FOUND') return ExitCode.finding;
  if (status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429)
    return ExitCode.usage;
  return ExitCode.systemFailed;
}
