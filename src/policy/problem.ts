import { CiliateError, ExitCode } from '../base/errors.ts';

/** What is wrong with a policy text: stable words for tests and callers. */
export type ProblemCode =
  | 'SYNTAX'
  | 'LIMIT'
  | 'TYPE'
  | 'MISSING'
  | 'UNKNOWN_FIELD'
  | 'UNSUPPORTED'
  | 'VALUE'
  | 'CONFLICT'
  | 'NO_EFFECT';

/** One remark on a policy text. Lines and columns count from 1, columns in UTF-16 units. */
export interface PolicyProblem {
  readonly severity: 'error' | 'warning';
  readonly code: ProblemCode;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Path of the field, `spec.ingress[0].toPorts[0].ports[1].port`; empty for the document itself. */
  readonly field: string;
  readonly reason: string;
  readonly hint: string | undefined;
}

/** `file:line:column: field: reason (hint)`, one line. */
export function formatProblem(problem: PolicyProblem): string {
  const where = `${problem.file}:${problem.line}:${problem.column}`;
  const field = problem.field === '' ? '' : ` ${problem.field}:`;
  const hint = problem.hint === undefined ? '' : ` (${problem.hint})`;
  const severity = problem.severity === 'warning' ? ' warning:' : '';
  return `${where}:${severity}${field} ${problem.reason}${hint}`;
}

/** All remarks, one a line, by file and position. */
export function formatProblems(problems: readonly PolicyProblem[]): string {
  return problems.map(formatProblem).join('\n');
}

/** Problems that a message names; a text of another kind has as many as lines. */
const MOST_TOLD = 3;

/** A policy text was refused; nothing of it was taken. `problems` holds every error found in it. */
export class PolicyInvalidError extends CiliateError {
  readonly problems: readonly PolicyProblem[];

  constructor(problems: readonly PolicyProblem[]) {
    const told = problems.slice(0, MOST_TOLD).map(formatProblem).join('; ') || 'no reason given';
    const more = problems.length > MOST_TOLD ? `, and ${problems.length - MOST_TOLD} more` : '';
    super(`the policy is invalid: ${told}${more}`, {
      code: 'POLICY_INVALID',
      exitCode: ExitCode.finding,
      hint: 'nothing was changed',
    });
    this.problems = problems;
  }
}
