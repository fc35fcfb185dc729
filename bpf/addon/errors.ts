import { constants } from 'node:os';
import { CiliateError, ExitCode } from '../../src/base/errors.ts';

/** Errnos that concern control flow here, by number (Linux, all architectures of ours). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EINVAL: 22,
  ENOSPC: 28,
  ENOSYS: 38,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  /** The kernel's own ENOTSUPP, which leaks out of bpf(2). */
  ENOTSUPP: 524,
} as const;

/** `ENOENT` for 2; `E<number>` for one without a name. */
export function errnoName(errno: number): string {
  if (errno === Errno.ENOTSUPP) return 'ENOTSUPP';
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `E${errno}`;
}

export interface BpfErrorOptions {
  readonly code?: string;
  /** Positive; 0 when no system call failed. */
  readonly errno?: number;
  readonly operation: string;
  readonly exitCode?: ExitCode;
  readonly verifierLog?: string | undefined;
  readonly hint?: string | undefined;
  /** Entries of a batch that were done before the failure. */
  readonly done?: number;
}

const NOT_PERMITTED: readonly number[] = [
  Errno.EPERM,
  Errno.EACCES,
  Errno.ENOSYS,
  Errno.EOPNOTSUPP,
  Errno.ENOTSUPP,
];

function hintFor(errno: number): string | undefined {
  if (errno === Errno.EPERM || errno === Errno.EACCES)
    return 'run as root, or with CAP_BPF and CAP_NET_ADMIN';
  if (errno === Errno.ENOSYS || errno === Errno.ENOTSUPP || errno === Errno.EOPNOTSUPP)
    return 'this kernel lacks the feature; Linux 6.6 or newer is needed';
  return undefined;
}

/**
 * A BPF operation failed. Code `BPF_<errno>` (BPF_EPERM, BPF_ENOSPC...), or BPF_CLOSED, BPF_ARGUMENT, BPF_LOAD,
 * BPF_MAP_MISMATCH, BPF_NO_SUCH_MAP, BPF_NO_SUCH_PROGRAM, BPF_NO_SUCH_VARIABLE, BPF_BTF. Exit 3 when the kernel
 * refused for want of privilege or lacks the feature, else 4.
 */
export class BpfError extends CiliateError {
  readonly errno: number;
  /** `''` when no system call failed. */
  readonly errnoName: string;
  readonly operation: string;
  readonly verifierLog: string | undefined;
  readonly done: number;

  constructor(message: string, options: BpfErrorOptions) {
    const errno = options.errno ?? 0;
    const refused = NOT_PERMITTED.includes(errno);
    super(message, {
      code: options.code ?? `BPF_${errnoName(errno)}`,
      exitCode: options.exitCode ?? (refused ? ExitCode.notPermitted : ExitCode.systemFailed),
      hint: options.hint ?? hintFor(errno),
    });
    this.errno = errno;
    this.errnoName = errno === 0 ? '' : errnoName(errno);
    this.operation = options.operation;
    this.verifierLog = options.verifierLog;
    this.done = options.done ?? 0;
  }
}

/** `what: ENOENT`, thrown for a result of the addon below zero. */
export function failed(operation: string, status: number, extra: Partial<BpfErrorOptions> = {}): BpfError {
  return new BpfError(`${operation}: ${errnoName(-status)}`, { ...extra, operation, errno: -status });
}

/** Passes a value of the addon on, or throws for -errno. */
export function checked<T>(operation: string, result: T | number): T {
  if (typeof result === 'number' && result < 0) throw failed(operation, result);
  return result as T;
}

export function argumentError(operation: string, message: string): BpfError {
  return new BpfError(`${operation}: ${message}`, { operation, code: 'BPF_ARGUMENT' });
}
