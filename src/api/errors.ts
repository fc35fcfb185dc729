import { CiliateError, ExitCode } from '../base/errors.ts';

/** The statuses that a failed call may answer with. 46x are Cilium's own: 460 invalid policy, 461 invalid prefilter. */
export type ApiStatus =
  | 400
  | 403
  | 404
  | 405
  | 408
  | 409
  | 411
  | 413
  | 415
  | 429
  | 460
  | 461
  | 500
  | 501
  | 502
  | 503;

const CODES: Readonly<Record<ApiStatus, string>> = {
  400: 'BAD_REQUEST',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_ALLOWED',
  408: 'REQUEST_TIMEOUT',
  409: 'CONFLICT',
  411: 'LENGTH_REQUIRED',
  413: 'BODY_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  429: 'TOO_MANY_REQUESTS',
  460: 'INVALID_POLICY',
  461: 'INVALID_PREFILTER',
  500: 'FAILED',
  501: 'NOT_IMPLEMENTED',
  502: 'ALLOCATION_FAILED',
  503: 'UNAVAILABLE',
};

export interface ApiErrorOptions {
  /** Default: by the status, e.g. `NOT_FOUND`. */
  readonly code?: string | undefined;
  /** The field at fault, as `endpoint.labels[2]`. */
  readonly field?: string | undefined;
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * An operation of the agent's API refuses or fails: thrown by an implementation of `AgentOperations`, answered with
 * `status` and the message as a bare JSON string. Anything else that is thrown answers 500.
 */
export class ApiError extends CiliateError {
  readonly status: ApiStatus;
  readonly field: string | undefined;

  constructor(status: ApiStatus, message: string, options: ApiErrorOptions = {}) {
    super(options.field === undefined ? message : `${options.field}: ${message}`, {
      code: options.code ?? CODES[status],
      exitCode: status === 404 || status >= 500 ? ExitCode.systemFailed : ExitCode.usage,
      hint: options.hint,
      cause: options.cause,
    });
    this.status = status;
    this.field = options.field;
  }
}
