import { createServer, type Server } from 'node:http';
import { SystemError } from '../base/errors.ts';
import type { ListenAddress } from '../base/option-parsers.ts';

export interface TextAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Answers GET of one path on TCP, for scrapers and probes; everything else is 404. */
export class TextServer {
  readonly #address: ListenAddress;
  readonly #server: Server;

  constructor(address: ListenAddress, path: string, answer: () => Promise<TextAnswer>) {
    this.#address = address;
    this.#server = createServer((request, response) => {
      const [asked] = (request.url ?? '').split('?');
      if (asked !== path || (request.method !== 'GET' && request.method !== 'HEAD')) {
        response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
        return;
      }
      answer().then(
        ({ status, contentType, body }) =>
          response.writeHead(status, { 'content-type': contentType }).end(body),
        () => response.writeHead(500, { 'content-type': 'text/plain' }).end('failed\n'),
      );
    });
    this.#server.requestTimeout = 10_000;
    this.#server.maxConnections = 64;
  }

  /** @returns the port, host order. @throws SystemError code LISTEN_FAILED */
  start(): Promise<number> {
    const { host, port } = this.#address;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new SystemError(`cannot listen on ${host ?? ''}:${port}`, {
            code: 'LISTEN_FAILED',
            hint: 'another program has that port: choose another address',
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
