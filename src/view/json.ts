interface JsonWithRaw {
  rawJSON(text: string): unknown;
}

/** Node 22 has `JSON.rawJSON`; the library types of our target do not yet. */
function raw(digits: string): unknown {
  return (JSON as unknown as JsonWithRaw).rawJSON(digits);
}

function replacer(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return raw(value.toString());
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Uint8Array) return Array.from(value);
  return value;
}

/** Compact JSON on one line; a `bigint` is written in full, as a number. */
export function toJsonLine(value: unknown): string {
  return JSON.stringify(value, replacer) ?? 'null';
}

/** JSON with two blanks of indentation and a newline at its end; a `bigint` is written in full, as a number. */
export function toJson(value: unknown): string {
  return `${JSON.stringify(value, replacer, 2) ?? 'null'}\n`;
}

/** Escapes as Go's encoder does: `<`, `>` and `&` become `\u003c`, `\u003e`, `\u0026`. */
export function escapeAsGo(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
