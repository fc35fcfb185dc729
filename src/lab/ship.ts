import { connect, type Socket } from 'node:net';
import { Client } from 'undici';

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

/** Opens the one connection of a request. undici would go on connecting after its client was destroyed. */
function connector(sockets: Socket[]) {
  return (
    { hostname, port }: { readonly hostname: string; readonly port: string },
    callback: (...outcome: [null, Socket] | [Error, null]) => void,
  ): void => {
    const host = hostname.replace(/^\[|\]$/g, '');
    const socket = connect({ host, port: Number(port || 80), noDelay: true });
    sockets.push(socket);
    socket.once('connect', () => callback(null, socket));
    socket.once('error', (error) => callback(error, null));
  };
}

/** Sends one HTTP request on a connection of its own, with one deadline for all of it. Bodies are cut at 1 MiB. */
export async function sendShip(method: ShipMethod, url: string, timeoutMs: number): Promise<ShipOutcome> {
  const { origin, pathname, search } = new URL(url);
  const sockets: Socket[] = [];
  const client = new Client(origin, { pipelining: 0, connect: connector(sockets) });
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort();
    for (const socket of sockets) socket.destroy(new Error('deadline'));
  }, timeoutMs);
  try {
    const path = `${pathname}${search}`;
    const { statusCode, body } = await client.request({ method, path, signal: deadline.signal });
    return { kind: 'answer', status: statusCode, body: await cappedText(body) };
  } catch (error) {
    if (deadline.signal.aborted) return { kind: 'timeout', timeoutMs };
    return { kind: 'refused', code: codeOf(error) };
  } finally {
    clearTimeout(timer);
    for (const socket of sockets) socket.destroy();
    await client.destroy();
  }
}
