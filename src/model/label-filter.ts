import { RE2JS } from 're2js';
import { UsageError } from '../base/errors.ts';
import { isLabelSource, type Label, labelSet, splitLabelKey } from './labels.ts';

/** Most characters of one pattern. */
const MAX_PATTERN_LENGTH = 512;
const MAX_PATTERNS = 256;

/** One entry of `--labels`: which keys of which source it means, and whether it takes them in or leaves them out. */
interface LabelPattern {
  /** `any`: of every source. */
  readonly source: string;
  readonly excludes: boolean;
  readonly regex: RE2JS;
}

/**
 * The entries that are always there, as Cilium 1.19 has them: keys that differ from pod to pod of one workload (hashes,
 * generations, ordinals) make no identity, or each pod would be one of its own.
 */
const DEFAULTS = [
  'io\\.kubernetes\\.pod\\.namespace',
  'io\\.cilium\\.k8s\\.namespace\\.labels',
  'app\\.kubernetes\\.io',
  'io\\.cilium\\.k8s\\.policy\\.cluster',
  '!io\\.kubernetes',
  '!kubernetes\\.io',
  '!statefulset\\.kubernetes\\.io/pod-name',
  '!apps\\.kubernetes\\.io/pod-index',
  '!batch\\.kubernetes\\.io/job-completion-index',
  '!batch\\.kubernetes\\.io/controller-uid',
  '!.*beta\\.kubernetes\\.io',
  '!k8s\\.io',
  '!pod-template-generation',
  '!pod-template-hash',
  '!controller-revision-hash',
  '!controller-uid',
  '!annotation.*',
  '!etcd_node',
] as const;

function refuse(text: string, why: string, hint?: string): UsageError {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
  return new UsageError(`${shown} is no pattern of labels: ${why}`, {
    code: 'LABEL_PATTERN',
    ...(hint === undefined ? {} : { hint }),
  });
}

function compile(text: string, expression: string): RE2JS {
  try {
    return RE2JS.compile(expression);
  } catch (cause) {
    throw refuse(text, cause instanceof Error ? cause.message : String(cause));
  }
}

/** `[source:][!]regex`. @throws UsageError LABEL_PATTERN */
function parsePattern(text: string): LabelPattern {
  if (text.length > MAX_PATTERN_LENGTH) throw refuse(text, `it is longer than ${MAX_PATTERN_LENGTH}`);
  const { source, key } = splitLabelKey(text, 'any');
  if (!isLabelSource(source)) {
    const hint = source.startsWith('!') ? 'the ! stands behind the source: k8s:!name' : undefined;
    throw refuse(text, `${JSON.stringify(source)} is no source of labels`, hint);
  }
  const excludes = key.startsWith('!');
  const expression = excludes ? key.slice(1) : key;
  if (expression === '') throw refuse(text, 'it names no key');
  return { source, excludes, regex: compile(text, expression) };
}

/** How many characters of the key a pattern matches from its beginning on; undefined where its first match is elsewhere. */
function matchLength(pattern: LabelPattern, label: Label): number | undefined {
  if (pattern.source !== 'any' && pattern.source !== label.source) return undefined;
  const matcher = pattern.regex.matcher(label.key);
  return matcher.find() && matcher.start() === 0 ? matcher.end() : undefined;
}

/**
 * Which labels make an identity; the others only inform.
 * 1. Labels of source `reserved` always do.
 * 2. Of the patterns that take in, the longest match of the key counts; of those that leave out, the shortest.
 * 3. A label does if the former is longer than the latter; or, unless the user's patterns take something in, if no
 *    pattern leaves it out.
 */
export class LabelFilter {
  /** The user's patterns, as they were written. */
  readonly text: string;
  readonly #patterns: readonly LabelPattern[];
  readonly #onlyTaken: boolean;

  private constructor(text: string, patterns: readonly LabelPattern[], onlyTaken: boolean) {
    this.text = text;
    this.#patterns = patterns;
    this.#onlyTaken = onlyTaken;
  }

  /**
   * The filter of `--labels`: patterns between blanks or commas, added to the defaults.
   * @throws UsageError LABEL_PATTERN
   */
  static parse(text: string): LabelFilter {
    return LabelFilter.#of(text, DEFAULTS.map(parsePattern));
  }

  /**
   * The filter of `--node-labels`: written alike, without defaults.
   * @throws UsageError LABEL_PATTERN
   */
  static parseForNodes(text: string): LabelFilter {
    return LabelFilter.#of(text, []);
  }

  static #of(text: string, defaults: readonly LabelPattern[]): LabelFilter {
    const words = text.split(/[\s,]+/).filter((word) => word !== '');
    if (words.length > MAX_PATTERNS) throw refuse(text, `there are more than ${MAX_PATTERNS}`);
    const own = words.map(parsePattern);
    const onlyTaken = own.some(({ excludes }) => !excludes);
    return new LabelFilter(words.join(' '), [...defaults, ...own], onlyTaken);
  }

  /** Whether a label makes the identity. */
  counts(label: Label): boolean {
    if (label.source === 'reserved') return true;
    let taken = 0;
    let left = 0;
    for (const pattern of this.#patterns) {
      const length = matchLength(pattern, label);
      if (length === undefined) continue;
      if (!pattern.excludes) taken = Math.max(taken, length);
      else if (left === 0 || length < left) left = length;
    }
    return taken > left || (!this.#onlyTaken && left === 0);
  }

  /** Splits an endpoint's labels into those that make its identity and those that only inform; both sorted. */
  split(labels: readonly Label[]): {
    readonly identity: readonly Label[];
    readonly informational: readonly Label[];
  } {
    const { identity = [], informational = [] } = Object.groupBy(labelSet(labels), (label) =>
      this.counts(label) ? 'identity' : 'informational',
    );
    return { identity, informational };
  }
}
