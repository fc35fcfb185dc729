import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import type { OperationName } from '../../api/contract.ts';
import type { AgentOperations } from '../../api/operations.ts';
import { errorText } from '../../base/errors.ts';
import { stringifyJson } from '../../base/json.ts';
import { listenOnUnixSocket } from '../../base/unix-socket.ts';
import { NodeChanges } from './node-changes.ts';
import { type ApiCallRecord, createRouter } from './router.ts';

export interface ApiServerOptions {
  readonly socketPath: string;
  /** For a whole call. Default 80 s: below the 90 s that clients wait. */
  readonly deadlineMs?: number;
  /** For a request's head and body to arrive. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** For running calls to end when the server stops. Default 5 s. */
  readonly stopGraceMs?: number;
  /** See UnixSocketOptions. */
  readonly groups?: readonly string[];
  readonly groupFile?: string;
}

export interface ApiServerDeps {
  readonly operations: AgentOperations;
  /** Counts finished calls. */
  readonly onCall?: (record: ApiCallRecord) => void;
  /** Logs what an operation threw that is no refusal. */
  readonly onError?: (error: unknown, operation: OperationName | undefined) => void;
  /** Monotonic time in ms; default performance.now. */
  readonly now?: () => number;
  readonly random?: () => number;
}

export interface ApiServer {
  /** Resolves when the socket answers. @throws see listenOnUnixSocket */
  start(): Promise<void>;
  /** Takes no more calls, waits for running ones, removes the socket. May be called twice. */
  stop(): Promise<void>;
}

const DEFAULT_DEADLINE_MS = 80_000;
const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;
const DEFAULT_STOP_GRACE_MS = 5000;
const MAX_CONNECTIONS = 1024;

/** The agent's REST API on its unix socket, base path /v1. */
export function createApiServer(options: ApiServerOptions, deps: ApiServerDeps): ApiServer {
  const server = httpServer(options, deps);
  const { socketPath: path, groups, groupFile, stopGraceMs = DEFAULT_STOP_GRACE_MS } = options;
  let stopped: Promise<void> | undefined;
  return {
    start: () => listenOnUnixSocket(server, { path, groups, groupFile }),
    stop: () => {
      stopped ??= close(server, stopGraceMs);
      return stopped;
    },
  };
}

function httpServer(options: ApiServerOptions, deps: ApiServerDeps): Server {
  const now = deps.now ?? (() => performance.now());
  const router = createRouter({
    operations: deps.operations,
    nodeChanges: new NodeChanges({ now, random: deps.random ?? Math.random }),
    onCall: deps.onCall,
    onError: deps.onError,
    now,
    deadlineMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS,
  });
  const listener = getRequestListener(router.fetch, {
    overrideGlobalObjects: false,
    errorHandler: (error) => textReply(400, errorText(error)),
  });
  const requestTimeout = options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS;
  const server = createServer(
    {
      requireHostHeader: false,
      requestTimeout,
      headersTimeout: requestTimeout,
      connectionsCheckingInterval: Math.min(1000, requestTimeout),
    },
    (incoming: IncomingMessage, outgoing: ServerResponse) => {
      // On a unix socket the host says nothing: clients leave it empty, or send the socket's path.
      incoming.headers.host = 'localhost';
      void listener(incoming, outgoing);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', refuseBrokenRequest);
  return server;
}

/** What is no HTTP, or did not arrive in time, is answered as every other error, and hung up on. */
function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, text] = BROKEN[error.code ?? ''] ?? ['400 Bad Request', `not a request: ${error.message}`];
  const body = stringifyJson(text);
  const head = [
    `HTTP/1.1 ${status}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

const BROKEN: Readonly<Record<string, readonly [string, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the request did not arrive in time'],
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the headers are too long'],
};

function textReply(status: number, text: string): Response {
  return new Response(stringifyJson(text), { status, headers: { 'content-type': 'application/json' } });
}

function close(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(force);
      resolve();
    });
    server.closeIdleConnections();
  });
}
