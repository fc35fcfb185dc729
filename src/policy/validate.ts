import type { Label } from '../model/labels.ts';
import { childPath } from './decoder.ts';
import { latestObjects, type PlacedRule } from './former-objects.ts';
import { parsePolicy } from './parse-policy.ts';
import { formatProblems, type PolicyProblem } from './problem.ts';
import type { Rule } from './rule.ts';
import { ruleName } from './rule-name.ts';
import { type RuleRemark, shadowedRules, unselectedRules } from './rule-remarks.ts';

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

export interface ValidateOptions {
  /** Of objects that name none; `default`. */
  readonly namespace?: string | undefined;
  /** Labels of the endpoints that there are: rules for none of them are told. Undefined: not known. */
  readonly endpoints?: readonly (readonly Label[])[] | undefined;
}

function placeText({ rule, file, line }: PlacedRule): string {
  const name = ruleName(rule.labels);
  return name === '' ? `the rule at ${file}:${line}` : `rule ${name} at ${file}:${line}`;
}

interface Remarked {
  readonly field: string;
  readonly reason: string;
  readonly hint: string;
}

function remarkText(remark: RuleRemark, rules: readonly PlacedRule[]): Remarked | undefined {
  const field = rules[remark.rule]?.field ?? '';
  if (remark.kind === 'selects-nothing') {
    const hint = 'look at the labels with endpoint list';
    return { field, reason: 'no endpoint has the labels of its subject: it has no effect now', hint };
  }
  const by = rules[remark.by];
  if (by === undefined) return undefined;
  if (remark.kind === 'covered')
    return { field, reason: `${placeText(by)} says all of it already`, hint: 'remove one of them' };
  const item = childPath(field, `${remark.section}[${remark.item}]`);
  if (remark.kind === 'contradicts') {
    const { kind, otherKind, port } = remark.clash;
    const other = remark.by === remark.rule ? 'an item before it' : placeText(by);
    const reason = `it asks for ${kind} on port ${port}, where ${other} asks for ${otherKind} of the same peers`;
    return {
      field: item,
      reason: `${reason}: nothing passes at endpoints of both`,
      hint: 'a port has one parser',
    };
  }
  return { field: item, reason: `it allows nothing: ${placeText(by)} denies all of it`, hint: 'remove it' };
}

function remarkProblem(remark: RuleRemark, rules: readonly PlacedRule[]): PolicyProblem[] {
  const rule = rules[remark.rule];
  const text = remarkText(remark, rules);
  if (rule === undefined || text === undefined) return [];
  const { file, line, column } = rule;
  const code = remark.kind === 'contradicts' ? 'CONFLICT' : 'NO_EFFECT';
  return [{ severity: 'warning', code, file, line, column, ...text }];
}

/** Rules that have no effect beside the other ones, contradict them, or that no endpoint is subject to. */
function remarksOf(rules: readonly PlacedRule[], { endpoints }: ValidateOptions): PolicyProblem[] {
  const bare: readonly Rule[] = rules.map(({ rule }) => rule);
  const unselected = endpoints === undefined ? [] : unselectedRules(bare, endpoints);
  return [...unselected, ...shadowedRules(bare)].flatMap((remark) => remarkProblem(remark, rules));
}

/**
 * Reads policy texts and says everything that is wrong with them, and which of their rules have no effect. Nothing is
 * said of effects while a text has errors: it may be the rule with the error that matters.
 */
export function validatePolicies(
  texts: readonly PolicyText[],
  options: ValidateOptions = {},
): ValidationReport {
  const { namespace } = options;
  const parsed = texts.map(({ file, text }) => ({
    file,
    ...parsePolicy(text, { file, ...(namespace !== undefined && { namespace }) }),
  }));
  const valid = parsed.every(({ errors }) => errors.length === 0);
  const placed = parsed.flatMap(({ file, rules }) => rules.map((rule) => ({ ...rule, file })));
  const latest = latestObjects(placed);
  const remarks = valid ? [...latest.warnings, ...remarksOf(latest.rules, options)] : [];
  const files = parsed.map(({ file, rules, errors, warnings }) => ({
    file,
    rules: valid ? latest.rules.filter((rule) => rule.file === file).length : rules.length,
    errors,
    warnings: [...warnings, ...remarks.filter((remark) => remark.file === file)],
  }));
  return { valid, files };
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
