import { UsageError } from '../base/errors.ts';
import { toJsonLine } from './json.ts';

/**
 * The templates of `-o jsonpath=`, as kubectl and Cilium's tools take them:
 * text outside braces is copied; inside, `$`, `@`, `.name`, `['name']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..name`,
 * `[?(@.a=="b")]`, `["a","b"]`, quoted text, and `range … end`.
 */
type Step =
  | { readonly kind: 'field'; readonly names: readonly string[] }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'slice'; readonly from: number | undefined; readonly to: number | undefined }
  | { readonly kind: 'every' }
  | { readonly kind: 'deep' }
  | { readonly kind: 'filter'; readonly test: Test };

interface Test {
  readonly left: readonly Step[];
  readonly operator: '==' | '!=' | '<' | '<=' | '>' | '>=' | 'exists';
  readonly right: unknown;
}

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'path'; readonly steps: readonly Step[] }
  | { readonly kind: 'range'; readonly steps: readonly Step[]; readonly body: readonly Node[] };

function invalid(template: string, why: string): UsageError {
  return new UsageError(`jsonpath ${JSON.stringify(template)}: ${why}`, {
    code: 'JSONPATH',
    hint: 'write for instance -o jsonpath=\'{.items[*].name}{"\\n"}\'',
  });
}

function unquote(text: string): string {
  const inner = text.slice(1, -1);
  return inner.replace(/\\(.)/g, (_, c: string) => ({ n: '\n', t: '\t', r: '\r' })[c] ?? c);
}

function literal(text: string): unknown {
  if (/^(["']).*\1$/s.test(text)) return unquote(text);
  if (text === 'true' || text === 'false') return text === 'true';
  return text === 'null' ? null : Number(text);
}

const BRACKET = /^\[((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\]"'])*)\]/s;
const QUOTED_LIST = /^(?:"[^"]*"|'[^']*')(?:,(?:"[^"]*"|'[^']*'))*$/;

function bracketStep(inner: string, template: string): Step {
  const body = inner.trim();
  if (body === '*') return { kind: 'every' };
  if (/^-?\d+$/.test(body)) return { kind: 'index', index: Number(body) };
  const slice = /^(-?\d*):(-?\d*)$/.exec(body);
  if (slice !== null) {
    const bound = (text: string | undefined): number | undefined => (text ? Number(text) : undefined);
    return { kind: 'slice', from: bound(slice[1]), to: bound(slice[2]) };
  }
  if (QUOTED_LIST.test(body))
    return { kind: 'field', names: (body.match(/"[^"]*"|'[^']*'/g) ?? []).map(unquote) };
  const filter = /^\?\(\s*@(.*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?))?\s*\)$/s.exec(body);
  if (filter === null) throw invalid(template, `cannot read [${inner}]`);
  const operator = (filter[2] ?? 'exists') as Test['operator'];
  const right = filter[3] === undefined ? undefined : literal(filter[3]);
  return { kind: 'filter', test: { left: parsePath(filter[1] ?? '', template), operator, right } };
}

function parsePath(path: string, template: string): Step[] {
  const steps: Step[] = [];
  let rest = path.replace(/^[$@]/, '');
  if (/^[A-Za-z_]/.test(rest)) rest = `.${rest}`;
  while (rest !== '') {
    const bracket = BRACKET.exec(rest);
    const dotted = /^\.(\.?)((?:\\.|[^.[\]{}\s'"*()])*)(\*?)/.exec(rest);
    if (bracket !== null) {
      steps.push(bracketStep(bracket[1] ?? '', template));
      rest = rest.slice(bracket[0].length);
    } else if (dotted !== null && dotted[0] !== '') {
      if (dotted[1] === '.') steps.push({ kind: 'deep' });
      if (dotted[3] === '*') steps.push({ kind: 'every' });
      else if (dotted[2]) steps.push({ kind: 'field', names: [dotted[2].replace(/\\(.)/g, '$1')] });
      rest = rest.slice(dotted[0].length);
    } else {
      throw invalid(template, `cannot read ${JSON.stringify(rest)}`);
    }
  }
  return steps;
}

/** Splits the template at its braces; quotes inside braces may hold braces. */
function tokens(template: string): { readonly code: boolean; readonly text: string }[] {
  const found: { code: boolean; text: string }[] = [];
  const pattern = /\{((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^}"'])*)\}|([^{]+)|(\{)/gs;
  for (const match of template.matchAll(pattern)) {
    if (match[3] !== undefined) throw invalid(template, 'a brace is not closed');
    found.push(
      match[1] === undefined ? { code: false, text: match[2] ?? '' } : { code: true, text: match[1].trim() },
    );
  }
  return found;
}

function parseTemplate(template: string): Node[] {
  const whole = template.includes('{') ? template : `{${template}}`;
  const stack: { nodes: Node[]; steps: readonly Step[] }[] = [{ nodes: [], steps: [] }];
  const top = (): { nodes: Node[]; steps: readonly Step[] } => stack.at(-1) ?? { nodes: [], steps: [] };
  for (const { code, text } of tokens(whole)) {
    if (!code) top().nodes.push({ kind: 'text', text });
    else if (/^(["']).*\1$/s.test(text)) top().nodes.push({ kind: 'text', text: unquote(text) });
    else if (text.startsWith('range '))
      stack.push({ nodes: [], steps: parsePath(text.slice(6).trim(), template) });
    else if (text === 'end') {
      const done = stack.length > 1 ? stack.pop() : undefined;
      if (done === undefined) throw invalid(template, 'end without range');
      top().nodes.push({ kind: 'range', steps: done.steps, body: done.nodes });
    } else top().nodes.push({ kind: 'path', steps: parsePath(text, template) });
  }
  if (stack.length > 1) throw invalid(template, 'range without end');
  return top().nodes;
}

function children(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return typeof value === 'object' && value !== null ? Object.values(value) : [];
}

function descendants(value: unknown): unknown[] {
  return [value, ...children(value).flatMap(descendants)];
}

function fieldOf(value: unknown, name: string): unknown[] {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return [];
  return [(value as Readonly<Record<string, unknown>>)[name]];
}

function compare(left: unknown, operator: Test['operator'], right: unknown): boolean {
  switch (operator) {
    case 'exists':
      return left !== undefined && left !== null;
    case '==':
      return left === right;
    case '!=':
      return left !== right;
    case '<':
      return Number(left) < Number(right);
    case '<=':
      return Number(left) <= Number(right);
    case '>':
      return Number(left) > Number(right);
    case '>=':
      return Number(left) >= Number(right);
  }
}

function apply(value: unknown, step: Step): unknown[] {
  switch (step.kind) {
    case 'field':
      return step.names.flatMap((name) => fieldOf(value, name));
    case 'index':
      return Array.isArray(value)
        ? value.slice(step.index, step.index === -1 ? undefined : step.index + 1)
        : [];
    case 'slice':
      return Array.isArray(value) ? value.slice(step.from, step.to) : [];
    case 'every':
      return children(value);
    case 'deep':
      return descendants(value);
    case 'filter': {
      const { left, operator, right } = step.test;
      return children(value).filter((item) => compare(walk(item, left)[0], operator, right));
    }
  }
}

function walk(value: unknown, steps: readonly Step[]): unknown[] {
  return steps.reduce<unknown[]>((values, step) => values.flatMap((item) => apply(item, step)), [value]);
}

function text(value: unknown): string {
  return typeof value === 'object' && value !== null ? toJsonLine(value) : String(value ?? '');
}

function render(nodes: readonly Node[], value: unknown): string {
  const parts = nodes.map((node) => {
    if (node.kind === 'text') return node.text;
    const found = walk(value, node.steps);
    return node.kind === 'path'
      ? found.map(text).join(' ')
      : found.map((item) => render(node.body, item)).join('');
  });
  return parts.join('');
}

/**
 * Renders a value through a template; a field that is not there prints nothing.
 * @throws UsageError code JSONPATH when the template cannot be read
 */
export function renderJsonPath(template: string, value: unknown): string {
  return render(parseTemplate(template), value);
}
