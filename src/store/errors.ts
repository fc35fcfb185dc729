import { CiliateError, ExitCode } from '../base/errors.ts';

/** The backend did not take a write, or cannot be read and nothing is held of it. The same call may be made again. */
export class StoreUnavailableError extends CiliateError {
  constructor(message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, {
      code: 'STORE_UNAVAILABLE',
      exitCode: ExitCode.systemFailed,
      hint: options.hint,
      cause: options.cause,
    });
  }
}

/** Every number of the identity range is taken. */
export class IdentityRangeFullError extends CiliateError {
  constructor(message: string) {
    super(message, {
      code: 'IDENTITY_RANGE_FULL',
      exitCode: ExitCode.systemFailed,
      hint: 'use fewer distinct label sets: leave labels that differ per pod out of the identity',
    });
  }
}
