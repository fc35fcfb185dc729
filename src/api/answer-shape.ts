import { SourceError } from './source-error.ts';

/** What an answer must be at its outermost. A list is one of objects; `null` and nothing stand for an empty one. */
export type AnswerShape = 'object' | 'object or nothing' | 'list' | 'anything';

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : isObject(value) ? 'an object' : `a ${typeof value}`;
}

/**
 * The answer, if it has the shape: a server that lies or is another one must not look like a fault of ours.
 * @throws SourceError code SOURCE_BAD_ANSWER
 */
export function expectShape(
  value: unknown,
  shape: AnswerShape,
  from: { readonly source: string; readonly what: string },
): unknown {
  const nothing = value === null || value === undefined;
  if (shape === 'anything' || (shape === 'object or nothing' && nothing)) return value;
  if (shape === 'list' && nothing) return [];
  const isList = Array.isArray(value);
  const stranger = shape === 'list' && isList ? value.find((item) => !isObject(item)) : undefined;
  if (shape === 'list' ? isList && stranger === undefined : isObject(value)) return value;
  const found = isList && shape === 'list' ? `a list with ${kindOf(stranger)} in it` : kindOf(value);
  const wanted = shape === 'list' ? 'a list of objects' : 'an object';
  throw new SourceError(`${from.source} answered ${found} where ${wanted} was asked for (${from.what})`, {
    code: 'SOURCE_BAD_ANSWER',
    hint: 'is this the socket of an agent?',
  });
}
