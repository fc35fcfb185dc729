/** Exit codes of every command. 1 is a negative finding (unreachable, denied, unhealthy), not a failure of ours. */
export const ExitCode = {
  ok: 0,
  finding: 1,
  usage: 2,
  notPermitted: 3,
  systemFailed: 4,
  partial: 5,
  internal: 70,
  /** Ended by a signal, after what was begun was taken down: 128 and its number, as shells say it. */
  hangup: 129,
  interrupted: 130,
  unread: 141,
  terminated: 143,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export interface CiliateErrorOptions {
  /** Stable, machine-readable: UPPER_SNAKE. Tests and callers match this, never the message. */
  readonly code: string;
  readonly exitCode: ExitCode;
  /** A remedy, added after the failure was seen. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * The base of every error that Ciliate throws on purpose. The message says what was asked and what was
 * found; the errno of a refused system call stays reachable through `cause`.
 */
export class CiliateError extends Error {
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;

  constructor(message: string, options: CiliateErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.exitCode = options.exitCode;
    this.hint = options.hint;
  }
}

/** The words of a command, a flag's value or a file are wrong. Exit 2. */
export class UsageError extends CiliateError {
  constructor(message: string, options: { code?: string; hint?: string | undefined; cause?: unknown } = {}) {
    super(message, {
      code: options.code ?? 'USAGE',
      exitCode: ExitCode.usage,
      hint: options.hint,
      cause: options.cause,
    });
  }
}

/** The kernel refused for want of privilege, or lacks the feature. Exit 3. */
export class NotPermittedError extends CiliateError {
  constructor(message: string, options: { code?: string; hint?: string | undefined; cause?: unknown } = {}) {
    super(message, {
      code: options.code ?? 'NOT_PERMITTED',
      exitCode: ExitCode.notPermitted,
      hint: options.hint,
      cause: options.cause,
    });
  }
}

/** The agent, another process or a system call failed. Exit 4. */
export class SystemError extends CiliateError {
  constructor(message: string, options: { code?: string; hint?: string | undefined; cause?: unknown } = {}) {
    super(message, {
      code: options.code ?? 'SYSTEM',
      exitCode: ExitCode.systemFailed,
      hint: options.hint,
      cause: options.cause,
    });
  }
}

/** Somebody wanted the command to end before it was done. */
export class InterruptedError extends CiliateError {
  constructor(message: string, exitCode: ExitCode) {
    super(message, { code: 'INTERRUPTED', exitCode });
  }
}

/** The errno of a thrown value, `ENOENT`; empty for one that has none. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The text of an unknown thrown value, with those of its causes: `a: b: c`. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`;
}
