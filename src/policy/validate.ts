import { parsePolicy } from './parse-policy.ts';
import { formatProblems, type PolicyProblem } from './problem.ts';

export interface PolicyText {
  readonly file: string;
  readonly text: string;
}

/** What `policy validate` found in one file. */
export interface ValidatedFile {
  readonly file: string;
  /** Rules that the file would add; 0 when it has errors. */
  readonly rules: number;
  readonly errors: readonly PolicyProblem[];
  readonly warnings: readonly PolicyProblem[];
}

export interface ValidationReport {
  readonly valid: boolean;
  readonly files: readonly ValidatedFile[];
}

/** Reads policy texts and says everything that is wrong with them. */
export function validatePolicies(
  texts: readonly PolicyText[],
  options: { readonly namespace?: string } = {},
): ValidationReport {
  const files = texts.map(({ file, text }) => {
    const { rules, errors, warnings } = parsePolicy(text, { file, ...options });
    return { file, rules: rules.length, errors, warnings };
  });
  return { valid: files.every(({ errors }) => errors.length === 0), files };
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;

function formatFile({ file, rules, errors, warnings }: ValidatedFile): string {
  const verdict =
    errors.length > 0 ? `invalid, ${count(errors.length, 'error')}` : `valid, ${count(rules, 'rule')}`;
  const remarks = formatProblems(
    [...errors, ...warnings].sort((a, b) => a.line - b.line || a.column - b.column),
  );
  return remarks === '' ? `${file}: ${verdict}` : `${remarks}\n${file}: ${verdict}`;
}

/** The report in words: each remark as `file:line:column: field: reason (hint)`, and a verdict for each file. */
export function formatValidation(report: ValidationReport): string {
  return report.files.map(formatFile).join('\n');
}
