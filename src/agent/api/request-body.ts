import type { IncomingMessage } from 'node:http';
import { ApiError } from '../../api/errors.ts';
import { parseJson } from '../../base/json.ts';

/** Deeper JSON than this is no request of this API, only a way to exhaust the stack of whoever walks it. */
const MAX_DEPTH = 64;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Character code of a bracket -> how it changes the depth. */
const NESTING: ReadonlyMap<number, number> = new Map([
  [0x5b, 1],
  [0x7b, 1],
  [0x5d, -1],
  [0x7d, -1],
]);

/** A request's body. */
export interface RequestBody {
  readonly text: string;
  /** The JSON value in `text`. */
  readonly value: unknown;
}

/**
 * Reads a request's JSON body; `undefined` when there is none.
 * @throws ApiError 400 (no JSON, no UTF-8, nested too deeply), 413 (more than `maxBytes`), 415 (another media type).
 */
export async function readJsonBody(
  incoming: IncomingMessage,
  maxBytes: number,
): Promise<RequestBody | undefined> {
  const bytes = await readBytes(incoming, maxBytes);
  if (bytes.length === 0) return undefined;
  requireJsonType(incoming.headers['content-type']);
  const text = decodeUtf8(bytes);
  if (text.trim() === '') return undefined;
  requireShallow(text);
  try {
    return { text, value: parseJson(text) };
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new ApiError(400, `the body is no JSON: ${cause.message}`, { cause });
  }
}

async function readBytes(incoming: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const declared = Number(incoming.headers['content-length'] ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  // Not `for await`: leaving that loop destroys the request, and the refusal could not be answered any more.
  await new Promise<void>((resolve, reject) => {
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) reject(tooLarge(maxBytes));
      else chunks.push(chunk);
    });
    incoming.on('end', resolve);
    incoming.on('error', (cause) => reject(new ApiError(400, 'the body was cut off', { cause })));
    incoming.on('close', () => {
      if (!incoming.complete) reject(new ApiError(400, 'the body was cut off'));
    });
  });
  return Buffer.concat(chunks);
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError(413, `the body is longer than the limit of ${maxBytes} bytes`, {
    hint: 'send it in several parts',
  });
}

/** No type at all is taken as JSON. */
function requireJsonType(header: string | undefined): void {
  const type = (header ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === '' || type === 'application/json') return;
  throw new ApiError(
    415,
    `expected a body of type application/json, got ${JSON.stringify(type.slice(0, 80))}`,
  );
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ApiError(400, 'the body is not UTF-8', { cause });
  }
}

/** Counts brackets outside strings: before parsing, since parsing is what would overflow. */
function requireShallow(text: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === BACKSLASH && inString) i += 1;
    else if (code === QUOTE) inString = !inString;
    else if (!inString) depth += NESTING.get(code) ?? 0;
    if (depth > MAX_DEPTH) throw new ApiError(400, `the body is nested deeper than ${MAX_DEPTH} levels`);
  }
}
