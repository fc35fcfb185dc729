import type { ErrorCode, YAMLParseError } from 'yaml';

interface SyntaxText {
  readonly reason: string;
  readonly hint?: string;
}

/** Longer lines quote the text itself. */
const MAX_LINE = 160;

const IN_BRACKETS: SyntaxText = {
  reason: 'a comma or a closing bracket is missing',
  hint: 'inside of {} and [] commas stand between what belongs together',
};

/** What people are told of the mistakes that they make most, by the reader's code. */
const SYNTAX_TEXTS: Readonly<Partial<Record<ErrorCode, SyntaxText>>> = {
  TAB_AS_INDENT: { reason: 'a tab indents the line', hint: 'indent by spaces' },
  BLOCK_AS_IMPLICIT_KEY: {
    reason: 'a second key in one line',
    hint: 'begin a new line, or put a value that has ": " in it in quotes',
  },
  BLOCK_IN_FLOW: IN_BRACKETS,
  MULTIPLE_DOCS: { reason: 'a second document begins', hint: 'write --- between documents' },
};

/** What is wrong with a text that is no YAML: in words of ours, or the reader's first line without the place that follows it. */
export function syntaxText({ code, message }: YAMLParseError): SyntaxText {
  const line = (message.split('\n')[0] ?? message)
    .replace(/ at line \d+, column \d+:?$/, '')
    .replace(/:$/, '');
  if (code === 'MISSING_CHAR' && /quote$/.test(line))
    return { reason: 'a quote is not closed', hint: 'close it, or take the first one away' };
  if (/^Flow (?:map|sequence)/.test(line)) return { ...IN_BRACKETS, reason: 'a closing bracket is missing' };
  return SYNTAX_TEXTS[code] ?? { reason: line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}...` : line };
}
