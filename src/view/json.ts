import { stringifyJson } from '../base/json.ts';
import { printableJson } from './printable.ts';

/** Compact JSON on one line, without a newline; a `bigint` is written in full, as a number. */
export function toJsonLine(value: unknown): string {
  return printableJson(stringifyJson(value ?? null));
}

/** JSON with two blanks of indentation and a newline at its end; a `bigint` is written in full, as a number. */
export function toJson(value: unknown): string {
  return `${printableJson(stringifyJson(value ?? null, 2))}\n`;
}

/** Escapes as Go's encoder does: `<`, `>` and `&` become `\u003c`, `\u003e`, `\u0026`. */
export function escapeAsGo(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
