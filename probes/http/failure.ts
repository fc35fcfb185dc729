import { errorText } from '../../src/base/errors.ts';
import type { ProbeFailure } from '../types.ts';

const NO_ROUTE = ['ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'EHOSTDOWN'];

/** The errno of an error, or of what caused it. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const own = 'code' in error ? String(error.code) : '';
  return error.cause instanceof Error && 'code' in error.cause ? String(error.cause.code) : own;
}

/** The errno of a broken connection, as a reason that a caller can act on. */
export function connectionFailure(error: unknown): ProbeFailure {
  const code = codeOf(error);
  if (code === 'ECONNREFUSED') return { kind: 'refused', text: 'connection refused' };
  if (code === 'ECONNRESET' || code === 'EPIPE') return { kind: 'reset', text: 'connection reset' };
  if (code === 'ETIMEDOUT') return { kind: 'timeout', text: 'connection timed out' };
  if (NO_ROUTE.includes(code)) {
    return { kind: 'unreachable', text: code === 'ENETUNREACH' ? 'no route to network' : 'no route to host' };
  }
  return { kind: 'send-failed', text: errorText(error) };
}
