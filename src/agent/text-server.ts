import { createServer, type Server } from 'node:http';
import { SystemError } from '../base/errors.ts';
import type { ListenAddress } from '../base/option-parsers.ts';
import { isOurHost, NOT_OUR_HOST } from '../base/own-host.ts';

export interface TextAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

const REQUEST_TIMEOUT_MS = 10_000;
const HEAD_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 64;
/** A scraper asks once in a while; whoever sends thousands in a row wants our memory and time. */
const REQUESTS_A_CONNECTION = 10;
const PLAIN = { 'content-type': 'text/plain' };

export interface TextServerOptions {
  readonly address: ListenAddress;
  readonly path: string;
  /** Names by which it may be asked, besides that of the address, addresses and `localhost`. */
  readonly hosts: readonly string[];
  readonly answer: () => Promise<TextAnswer>;
}

/** Answers GET of one path on TCP, for scrapers and probes; everything else is 404. */
export class TextServer {
  readonly #address: ListenAddress;
  readonly #server: Server;
  readonly #answer: () => Promise<TextAnswer>;
  #making: Promise<TextAnswer> | undefined;

  constructor({ address, path, hosts, answer }: TextServerOptions) {
    this.#address = address;
    this.#answer = answer;
    const names = address.host === undefined ? hosts : [...hosts, address.host];
    this.#server = createServer(
      {
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: HEAD_TIMEOUT_MS,
        connectionsCheckingInterval: 1_000,
      },
      (request, response) => {
        // A body is not read: the connection ends with the answer.
        const refuse = (status: number, text: string): void =>
          void response.writeHead(status, { ...PLAIN, connection: 'close' }).end(`${text}\n`);
        if (!isOurHost(request.headers.host, names)) return refuse(421, NOT_OUR_HOST);
        const [asked] = (request.url ?? '').split('?');
        const reads = request.method === 'GET' || request.method === 'HEAD';
        if (asked !== path || !reads) return refuse(404, 'not found');
        this.#shared().then(
          ({ status, contentType, body }) =>
            response.writeHead(status, { 'content-type': contentType }).end(body),
          () => response.writeHead(500, PLAIN).end('failed\n'),
        );
      },
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.maxRequestsPerSocket = REQUESTS_A_CONNECTION;
  }

  /** Requests that come while an answer is made get that one: making it costs more than asking. */
  #shared(): Promise<TextAnswer> {
    this.#making ??= this.#answer().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /** @returns the port, host order. @throws SystemError code LISTEN_FAILED */
  start(): Promise<number> {
    const { host, port } = this.#address;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new SystemError(`cannot listen on ${host ?? ''}:${port}`, {
            code: 'LISTEN_FAILED',
            hint:
              'code' in cause && cause.code === 'EADDRNOTAVAIL'
                ? 'this machine does not have that address: choose another'
                : 'another program has that port: choose another address',
            cause,
          }),
        ),
      );
      this.#server.listen({ host, port }, () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
