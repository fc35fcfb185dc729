import { errorText } from '../../base/errors.ts';
import type { HeaderMatch, HttpRule, L7Filter } from '../../model/l7.ts';
import { CHARS, TOKEN, VALUE } from './chars.ts';
import { MatchBudget } from './match-budget.ts';
import { tokens } from './message-head.ts';
import type { Target } from './path.ts';
import { PathIndex } from './path-index.ts';
import { compileMatcher, type Matcher } from './pattern.ts';
import type { HeaderEdit } from './rewrite.ts';

/** What rules look at. */
export interface JudgedRequest {
  readonly method: string;
  readonly hostText: string;
  readonly understood: Target;
  /** Values of all fields of that name (lower case), joined by commas; undefined when there are none. */
  joined(lower: string): string | undefined;
  /** Names of fields that are others than `lower`, and the same to some servers; in lower case (see disguise.ts). */
  disguised(lower: string): readonly string[];
}

/** What the rules of one direction say of a request. */
export interface RuleVerdict {
  readonly allowed: boolean;
  /** Names of the rules that allowed it. */
  readonly rules: readonly string[];
  readonly edits: readonly HeaderEdit[];
  /** What a rule that allowed it wants logged all the same; or why it is denied, where it is not that no rule allows it. */
  readonly remark: string;
  /** Fields that the rule which allowed it is about, in lower case: no trailer may say otherwise. */
  readonly fields: readonly string[];
}

const NO_EDITS: readonly HeaderEdit[] = [];
const DENIED: RuleVerdict = { allowed: false, rules: [], edits: NO_EDITS, remark: '', fields: [] };

/** What was asked of its rules' expressions takes more time than they have. */
const TOO_LONG: RuleVerdict = { ...DENIED, remark: 'the expressions of the rules take too long' };

interface HeaderCondition {
  readonly lower: string;
  readonly name: string;
  readonly value: string | undefined;
  readonly mismatch: HeaderMatch['mismatch'];
  /** Nothing that a request carries matches: nobody knows the value. */
  readonly never: boolean;
}

interface CompiledRule {
  readonly method: Matcher | undefined;
  readonly host: Matcher | undefined;
  readonly conditions: readonly HeaderCondition[];
  readonly allows: RuleVerdict;
}

/** Fields that frame or route a message: a rule that would change them allows nothing instead. */
const UNTOUCHABLE = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'expect',
  'te',
  'trailer',
]);

/** The HTTP rules of the filters that match one peer and port; an empty set allows nothing. */
export class HttpRuleSet {
  readonly #paths: PathIndex;
  readonly #budget: MatchBudget;
  readonly #rules: CompiledRule[] = [];
  /** Set when a filter without L7 rules lets every request pass. */
  readonly #open: RuleVerdict | undefined;
  /** Rules that cannot be used, which allow nothing, and why. */
  readonly problems: string[] = [];

  /** @param budget what the rules' expressions may take */
  constructor(filters: readonly L7Filter[], budget: MatchBudget = new MatchBudget()) {
    this.#budget = budget;
    this.#paths = new PathIndex(budget);
    const open = filters.filter(({ l7 }) => l7 === undefined);
    if (open.length > 0) this.#open = allowedBy([...new Set(open.map(({ ruleName }) => ruleName))]);
    else for (const filter of filters) this.#addFilter(filter);
    this.#paths.compile();
  }

  #addFilter({ l7, ruleName }: L7Filter): void {
    if (l7?.kind !== 'http') return;
    for (const rule of l7.rules) {
      try {
        const compiled = compileRule(rule, ruleName, this.#budget);
        this.#paths.add(rule.path, this.#rules.length);
        this.#rules.push(compiled);
      } catch (error) {
        this.problems.push(`${ruleName}: ${errorText(error)}`);
      }
    }
  }

  judge(request: JudgedRequest): RuleVerdict {
    if (this.#open !== undefined) return this.#open;
    const verdict = this.#budget.judge(() => this.#judgeTarget(request));
    return verdict.allowed || !this.#budget.isOver ? verdict : TOO_LONG;
  }

  #judgeTarget(request: JudgedRequest): RuleVerdict {
    const { path, bare } = request.understood;
    const verdict = this.#judgePath(request, path);
    if (bare === undefined || !verdict.allowed) return verdict;
    const { allowed, fields } = this.#judgePath(request, bare);
    return allowed ? { ...verdict, fields: [...verdict.fields, ...fields] } : DENIED;
  }

  /** The first rule that allows the request as it is, else the first that allows it with changes. */
  #judgePath(request: JudgedRequest, path: string): RuleVerdict {
    let changed: RuleVerdict | undefined;
    let refused = DENIED;
    for (const place of this.#paths.match(path)) {
      const rule = this.#rules[place];
      if (rule === undefined) continue;
      if (rule.method !== undefined && !rule.method(request.method)) continue;
      if (rule.host !== undefined && !rule.host(request.hostText)) continue;
      const verdict = rule.conditions.length === 0 ? rule.allows : judgeHeaders(rule, request);
      if (verdict === rule.allows) return verdict;
      if (verdict.allowed) changed ??= verdict;
      else if (verdict !== DENIED) refused = verdict;
    }
    return changed ?? refused;
  }
}

function allowedBy(rules: readonly string[], conditions: readonly HeaderCondition[] = []): RuleVerdict {
  const fields = conditions.filter(({ mismatch }) => mismatch !== 'LOG').map(({ lower }) => lower);
  return { allowed: true, rules, edits: NO_EDITS, remark: '', fields };
}

/** @throws RE2JSSyntaxException, RangeError for headers that cannot be written */
function compileRule(rule: HttpRule, ruleName: string, budget: MatchBudget): CompiledRule {
  const conditions = [...rule.headers.map(readHeader), ...rule.headerMatches].map(compileCondition);
  return {
    method: rule.method === undefined ? undefined : compileMatcher(rule.method, budget),
    host: rule.host === undefined ? undefined : compileMatcher(rule.host, budget),
    conditions,
    allows: allowedBy([ruleName], conditions),
  };
}

/** `Name: value` or `Name`; the name ends at the first blank. What is no name then makes the rule unusable. */
function readHeader(text: string): HeaderMatch {
  const blank = `${text} `.indexOf(' ');
  const value = text.slice(blank).trim();
  return { name: text.slice(0, blank).replace(/:$/, ''), value: value === '' ? undefined : value };
}

const every = (text: string, bit: number): boolean =>
  Array.from(text).every((char) => ((CHARS[char.charCodeAt(0)] ?? 0) & bit) !== 0);

function compileCondition(match: HeaderMatch): HeaderCondition {
  const { name, secret, mismatch } = match;
  const value = match.secretValue ?? match.value;
  const never = secret !== undefined && value === undefined;
  const lower = name.toLowerCase();
  if (name === '' || !every(name, TOKEN))
    throw new RangeError(`${JSON.stringify(name)} is no name of a header`);
  if (value !== undefined && !every(value, VALUE))
    throw new RangeError(`value of ${name} cannot be in a header`);
  if (mismatch !== undefined && mismatch !== 'LOG' && UNTOUCHABLE.has(lower)) {
    throw new RangeError(`${name} cannot be changed: it frames or routes the message`);
  }
  if (never && (mismatch === 'ADD' || mismatch === 'REPLACE'))
    throw new RangeError(`${name} cannot be written: Secret ${secret.namespace}/${secret.name} is missing`);
  return { lower, name, value, mismatch, never };
}

/** Fields that a connection has to name (RFC 9110 §7.8, §10.1.4) or mostly does: that they may be dropped is what they are. */
const NAMED = new Set(['upgrade', 'te', 'keep-alive']);

/**
 * A rule about a header says nothing certain of a request in which another field is that header too to the server, or which
 * lets whoever passes it on drop the header (`Connection` names it): it allows nothing, but where it lets pass whatever the
 * header is.
 * @returns `rule.allows` when all headers match; one that denies; or an allowing verdict with the changes wanted
 */
function judgeHeaders(rule: CompiledRule, request: JudgedRequest): RuleVerdict {
  let edits: HeaderEdit[] | undefined;
  const remarks: string[] = [];
  const dropped = tokens(request.joined('connection') ?? '').filter((name) => !NAMED.has(name));
  for (const { lower, name, value, mismatch, never } of rule.conditions) {
    const found = request.joined(lower);
    const [disguise] = request.disguised(lower);
    if (disguise !== undefined && mismatch !== 'LOG')
      return { ...DENIED, remark: `${disguise} is ${name} to some servers` };
    if (dropped.includes(lower) && mismatch !== 'LOG')
      return { ...DENIED, remark: `Connection names ${name}, so that it may be dropped` };
    if (disguise === undefined && !never && (value === undefined ? found !== undefined : found === value))
      continue;
    if (mismatch === undefined) return DENIED;
    remarks.push(`header ${name} does not match`);
    if (mismatch === 'LOG') continue;
    edits ??= [];
    edits.push({ action: mismatch, lower, name, value: value ?? '' });
  }
  if (remarks.length === 0) return rule.allows;
  return { ...rule.allows, edits: edits ?? NO_EDITS, remark: remarks.join(', ') };
}
