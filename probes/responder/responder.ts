import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ListenOptions, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SystemError } from '../../src/base/errors.ts';
import { Admission } from './admission.ts';
import {
  CONNECTIONS_MAX,
  HEAD_BYTES_MAX,
  HELLO_PATHS,
  KEEP_ALIVE_MS,
  REQUEST_TIMEOUT_MS,
  REQUESTS_A_CONNECTION,
} from './constants.ts';
import { type ResponderRoute, RouteRequests } from './routes.ts';

export type { ResponderRoute, RouteAnswer } from './routes.ts';

/** Where to answer: a descriptor that listens already (the responder then owns it), or an address. */
export type ResponderListen =
  | { readonly kind: 'fd'; readonly fd: number }
  | { readonly kind: 'address'; readonly host: string /** Host order. */; readonly port: number };

export interface ResponderOptions {
  readonly listen: readonly ResponderListen[];
  readonly requestTimeoutMs?: number | undefined;
  readonly connectionsMax?: number | undefined;
  /** Whether probes are expected from an address: others have a part of the connections only. Undefined: from all. */
  readonly isExpected?: ((address: string) => boolean) | undefined;
  /** What is answered beside the probes. */
  readonly routes?: readonly ResponderRoute[] | undefined;
}

export interface ResponderCounters {
  readonly answered: number;
  readonly notFound: number;
  readonly refused: number;
  /** Connections closed at once because too many were open. */
  readonly dropped: number;
}

export interface Responder {
  /** Resolves when every place answers. @throws SystemError code RESPONDER_LISTEN */
  start(): Promise<void>;
  /** Closes all connections and descriptors. May be called twice. */
  stop(): Promise<void>;
  counters(): ResponderCounters;
  /** Where it listens, `10.0.0.1:4240`, once started. */
  addresses(): readonly string[];
}

class HttpResponder implements Responder {
  readonly #options: ResponderOptions;
  readonly #servers: Server[] = [];
  readonly #counters = { answered: 0, notFound: 0, refused: 0, dropped: 0 };
  readonly #routes: RouteRequests;
  readonly #admission: Admission | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: ResponderOptions) {
    this.#options = options;
    const { routes = [], isExpected } = options;
    this.#routes = new RouteRequests(routes);
    this.#admission = isExpected === undefined ? undefined : new Admission(isExpected);
  }

  async start(): Promise<void> {
    for (const listen of this.#options.listen) {
      const server = this.#makeServer();
      this.#servers.push(server);
      try {
        await listenOn(server, listen);
      } catch (cause) {
        await this.stop();
        throw new SystemError(`cannot answer health probes on ${describe(listen)}`, {
          code: 'RESPONDER_LISTEN',
          hint: isInUse(cause) ? IN_USE_HINT : undefined,
          cause,
        });
      }
    }
  }

  #makeServer(): Server {
    const { requestTimeoutMs = REQUEST_TIMEOUT_MS, connectionsMax = CONNECTIONS_MAX } = this.#options;
    const server = createServer(
      {
        maxHeaderSize: HEAD_BYTES_MAX,
        requestTimeout: requestTimeoutMs,
        headersTimeout: requestTimeoutMs,
        connectionsCheckingInterval: Math.min(500, requestTimeoutMs),
        keepAliveTimeout: KEEP_ALIVE_MS,
        insecureHTTPParser: false,
        noDelay: true,
      },
      (request, response) => this.#answer(request, response),
    );
    server.maxConnections = connectionsMax;
    server.maxRequestsPerSocket = REQUESTS_A_CONNECTION;
    server.on('connection', (socket: Socket) => {
      if (this.#admission?.admit(socket) !== false) return;
      this.#counters.dropped++;
      socket.destroy();
    });
    server.on('drop', () => {
      this.#counters.dropped++;
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.#refuse(error, socket));
    // A request to switch protocols or to tunnel is none that is answered here.
    server.on('connect', (_request, socket: Duplex) => socket.destroy());
    server.on('upgrade', (_request, socket: Duplex) => socket.destroy());
    return server;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    response.sendDate = false;
    if (this.#routes.take(path, request, response)) return;
    const known = HELLO_PATHS.has(path);
    const readable = request.method === 'GET' || request.method === 'HEAD';
    const hasBody =
      request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
    const status =
      hasBody && request.headers['content-length'] !== '0' ? 413 : !known ? 404 : readable ? 200 : 405;
    if (status === 200) this.#counters.answered++;
    else if (status === 404) this.#counters.notFound++;
    else this.#counters.refused++;
    // A body is not read: the connection ends with the answer.
    const headers = status === 413 ? { connection: 'close' } : status === 405 ? { allow: 'GET, HEAD' } : {};
    response.writeHead(status, { ...headers, 'content-length': 0 }).end();
  }

  #refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    this.#counters.refused++;
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const status =
      error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : error.code === 'HPE_HEADER_OVERFLOW'
          ? '431 Request Header Fields Too Large'
          : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () =>
      (socket as Socket).destroySoon(),
    );
  }

  counters(): ResponderCounters {
    return { ...this.#counters };
  }

  addresses(): readonly string[] {
    return this.#servers.flatMap((server) => {
      const address = server.address();
      if (address === null || typeof address === 'string') return [];
      return [
        address.family === 'IPv6'
          ? `[${address.address}]:${address.port}`
          : `${address.address}:${address.port}`,
      ];
    });
  }

  stop(): Promise<void> {
    this.#stopping ??= Promise.all(this.#servers.map(closeServer)).then(() => undefined);
    return this.#stopping;
  }
}

const IN_USE_HINT =
  "if it is Cilium's health agent that listens there, take another port on every node: --listen ADDRESS:4340 --port 4340";

function isInUse(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
}

function describe(listen: ResponderListen): string {
  return listen.kind === 'fd' ? `descriptor ${listen.fd}` : `${listen.host} port ${listen.port}`;
}

function listenOn(server: Server, listen: ResponderListen): Promise<void> {
  const where: ListenOptions & { readonly fd?: number } =
    listen.kind === 'fd'
      ? { fd: listen.fd }
      : { host: listen.host, port: listen.port, ipv6Only: listen.host.includes(':') };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** Answers health probes over HTTP: tiny, strict, bounded, and says nothing about the node. */
export function createResponder(options: ResponderOptions): Responder {
  return new HttpResponder(options);
}
