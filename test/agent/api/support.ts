import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiCallRecord, type ApiServerOptions, createApiServer } from '../../../src/agent/api/index.ts';
import type { AgentOperations } from '../../../src/api/operations.ts';
import { FakeAgent } from './fake-operations.ts';

export interface TestServer extends AsyncDisposable {
  readonly socketPath: string;
  readonly agent: FakeAgent;
  readonly records: ApiCallRecord[];
  readonly errors: unknown[];
  /** Sends these bytes and returns all that comes back until the server hangs up. */
  raw(request: string | Buffer): Promise<RawAnswer>;
  stop(): Promise<void>;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** A folder of its own below the system's temporary one, removed at the end. */
export function tempFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'ciliate-api-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Gives up root's rights (files and sockets are checked by the effective user) until it is disposed of. */
export function asNobody(): Disposable {
  if (process.getuid?.() !== 0) return { [Symbol.dispose]: () => undefined };
  process.seteuid?.(65_534);
  return { [Symbol.dispose]: () => process.seteuid?.(0) };
}

/** A server on a socket of its own before a fake agent. */
export async function startServer(
  overrides: Partial<AgentOperations> = {},
  options: Partial<ApiServerOptions> = {},
): Promise<TestServer> {
  const folder = tempFolder();
  const socketPath = join(folder.path, 'agent.sock');
  const agent = new FakeAgent(overrides);
  const records: ApiCallRecord[] = [];
  const errors: unknown[] = [];
  const server = createApiServer(
    { socketPath, groups: [], ...options },
    {
      operations: agent.operations,
      onCall: (record) => records.push(record),
      onError: (error) => errors.push(error),
      random: () => 0.5,
    },
  );
  await server.start();
  return {
    socketPath,
    agent,
    records,
    errors,
    raw: (request) => rawExchange(socketPath, request),
    stop: () => server.stop(),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      folder[Symbol.dispose]();
    },
  };
}

/** One request with `connection: close`, as text. */
export function requestText(
  method: string,
  path: string,
  body?: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  const bytes = Buffer.from(body ?? '');
  const all: Record<string, string> = {
    host: 'localhost',
    connection: 'close',
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': String(bytes.length) }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`.trimEnd());
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`), bytes]);
}

export function rawExchange(socketPath: string, request: string | Buffer): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(socketPath, () => socket.write(request));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    // A server that refuses a body may close while it is still being sent: what it answered counts.
    socket.on('error', (error) =>
      chunks.length > 0 ? resolve(parseAnswer(Buffer.concat(chunks))) : reject(error),
    );
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(parseAnswer(Buffer.concat(chunks))));
  });
}

function parseAnswer(bytes: Buffer): RawAnswer {
  const text = bytes.toString('latin1');
  const end = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\r\n');
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const raw = bytes.subarray(end + 4);
  const body = headers.get('transfer-encoding') === 'chunked' ? unchunk(raw) : raw;
  return { status: Number(first.split(' ')[1] ?? 0), headers, body: body.toString('utf8') };
}

function unchunk(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (!(size > 0)) break;
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
  return Buffer.concat(parts);
}
