import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { isIPv6, type Socket } from 'node:net';
import { SystemError } from '../../base/errors.ts';
import type { RowRequest, RowTransport } from './exchange.ts';

export interface HttpTransportOptions {
  /** Host order, of the other nodes' responders. */
  readonly port: number;
  /** Addresses to connect from, at most one a family: the others know us by them. */
  readonly sources?: readonly string[] | undefined;
  readonly timeoutMs?: number | undefined;
  /** Connects otherwise than from this process's network namespace: many nodes in one process. */
  readonly connect?: ((address: string, port: number) => Socket) | undefined;
}

/** Where rows are asked for and told. */
export const ROW_PATHS: Readonly<Record<RowRequest, string>> = {
  differences: '/v1beta/rows/differences',
  news: '/v1beta/rows',
};

const TIMEOUT_MS = 2000;
/** A row of 65,535 cells and whatever has room before it. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const SOCKETS_A_NODE = 2;
const SOCKETS_MAX = 64;
/** Less than a responder keeps a connection, so that none is used that is just being closed. */
const IDLE_MS = 4000;

class HttpTransport implements RowTransport {
  readonly #options: HttpTransportOptions;
  readonly #agent = new Agent({
    keepAlive: true,
    maxSockets: SOCKETS_A_NODE,
    maxTotalSockets: SOCKETS_MAX,
    maxFreeSockets: SOCKETS_A_NODE,
    timeout: IDLE_MS,
  });
  readonly #open = new Set<ClientRequest>();
  #stopped = false;

  constructor(options: HttpTransportOptions) {
    this.#options = options;
    const { connect } = options;
    if (connect === undefined) return;
    this.#agent.createConnection = ({ host, port }) => connect(host ?? '', Number(port));
  }

  async send(address: string, request: RowRequest, body: Uint8Array): Promise<Uint8Array> {
    try {
      return await this.#exchange(address, request, body);
    } catch (error) {
      // The other end closed an idle connection as we took it: a fresh one tells more.
      if (!(error instanceof StaleConnectionError)) throw error;
      return this.#exchange(address, request, body);
    }
  }

  #exchange(address: string, request: RowRequest, body: Uint8Array): Promise<Uint8Array> {
    const { port, sources = [], timeoutMs = TIMEOUT_MS } = this.#options;
    const localAddress = sources.find((source) => isIPv6(source) === isIPv6(address));
    return new Promise((resolve, reject) => {
      if (this.#stopped) {
        reject(failure(address, 'the exchange of rows was stopped'));
        return;
      }
      const outgoing = httpRequest({
        agent: this.#agent,
        host: address,
        port,
        path: ROW_PATHS[request],
        method: 'POST',
        headers: { 'content-length': body.length, 'user-agent': 'ciliate-health' },
        ...(localAddress === undefined ? {} : { localAddress }),
      });
      const timer = setTimeout(
        () => outgoing.destroy(failure(address, `no answer in ${timeoutMs} ms`)),
        timeoutMs,
      );
      let answered = false;
      this.#open.add(outgoing);
      outgoing.on('close', () => {
        clearTimeout(timer);
        this.#open.delete(outgoing);
        if (!answered) reject(failure(address, 'closed without an answer'));
      });
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        const stale = outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(stale ? new StaleConnectionError() : error);
      });
      outgoing.on('response', (answer) => {
        answered = true;
        collect(answer, address).then(resolve, reject);
      });
      outgoing.end(body);
    });
  }

  stop(): Promise<void> {
    this.#stopped = true;
    for (const request of this.#open) request.destroy();
    this.#agent.destroy();
    return Promise.resolve();
  }
}

class StaleConnectionError extends Error {}

function failure(address: string, why: string): SystemError {
  return new SystemError(`rows of ${address}: ${why}`, { code: 'ROWS_NOT_EXCHANGED' });
}

async function collect(answer: IncomingMessage, address: string): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX)
      throw failure(address, `the answer has more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  if (answer.statusCode !== 200) throw failure(address, `status ${answer.statusCode}`);
  return Buffer.concat(chunks);
}

/** Exchanges rows over the port of the health responders. */
export function createHttpTransport(options: HttpTransportOptions): RowTransport {
  return new HttpTransport(options);
}
