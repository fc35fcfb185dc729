import { Agent, request } from 'undici';

/** How a request ended. A time-out is the sign of packets that were dropped, a refusal of a missing listener. */
export type ShipOutcome =
  | { readonly kind: 'answer'; readonly status: number; readonly body: string }
  | { readonly kind: 'timeout'; readonly timeoutMs: number }
  | { readonly kind: 'refused'; readonly code: string };

export type ShipMethod = 'GET' | 'POST' | 'PUT';

const MAX_BODY_BYTES = 1024 * 1024;

/** The code of an error, or of what caused it. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ('code' in error && typeof error.code === 'string') return error.code;
  return error.cause === undefined ? error.message : codeOf(error.cause);
}

async function cappedText(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= MAX_BODY_BYTES) break;
  }
  return Buffer.concat(parts).subarray(0, MAX_BODY_BYTES).toString('utf8');
}

/** Sends one HTTP request on a connection of its own, with one deadline for all of it. Bodies are cut at 1 MiB. */
export async function sendShip(method: ShipMethod, url: string, timeoutMs: number): Promise<ShipOutcome> {
  const dispatcher = new Agent({ pipelining: 0, connect: { timeout: 0 } });
  const deadline = AbortSignal.timeout(timeoutMs);
  // The signal's timer alone would not keep the process waiting.
  const waiting = setTimeout(() => undefined, timeoutMs);
  try {
    const { statusCode, body } = await request(url, { method, dispatcher, signal: deadline });
    return { kind: 'answer', status: statusCode, body: await cappedText(body) };
  } catch (error) {
    if (deadline.aborted) return { kind: 'timeout', timeoutMs };
    return { kind: 'refused', code: codeOf(error) };
  } finally {
    clearTimeout(waiting);
    await dispatcher.destroy();
  }
}
