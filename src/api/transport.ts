import { type IncomingMessage, request } from 'node:http';
import { parseJson, stringifyJson } from '../base/json.ts';
import { type ApiAddress, formatApiAddress } from './address.ts';
import { SourceError } from './source-error.ts';

/** One HTTP request. */
export interface ApiCall {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** Below the base path, encoded: `/endpoint/12`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>> | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Sent as JSON; a GET may carry one too. Absent: no body. */
  readonly body?: unknown;
  /** For the whole exchange; default: the transport's. */
  readonly timeoutMs?: number | undefined;
  /** Statuses besides 2xx whose body is an answer. */
  readonly accepted?: readonly number[] | undefined;
}

export interface TransportOptions {
  readonly address: ApiAddress;
  /** `/v1` or `/v1beta`. */
  readonly basePath: string;
  /** Who is asked, for messages: `agent`, `health agent`. */
  readonly peer: string;
  /** How to start or name the peer: the hint when nobody answers. */
  readonly hint: string;
  /** Default 15 s to read, 90 s to change something: that may wait for endpoints. */
  readonly timeoutMs?: number | undefined;
  /** Longest answer that is taken; default 256 MiB, for programs that end. One that stays sets less. */
  readonly maxAnswerBytes?: number | undefined;
}

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

const READ_TIMEOUT_MS = 15_000;
const CHANGE_TIMEOUT_MS = 90_000;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

/** HTTP to one API over its socket. `node:http`, since GET requests of this API may carry a body. */
export class Transport {
  readonly name: string;
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.name = formatApiAddress(options.address);
  }

  /**
   * Calls and parses the JSON answer; an empty one is `undefined`.
   * @throws SourceError
   */
  async json<T>(call: ApiCall): Promise<T> {
    const answer = await this.text(call);
    if (answer.text === '') return undefined as T;
    try {
      return parseJson(answer.text) as T;
    } catch (cause) {
      throw new SourceError(`the answer of ${this.name} to ${this.#title(call)} is no JSON`, {
        code: 'SOURCE_BAD_ANSWER',
        cause,
      });
    }
  }

  /**
   * Calls and returns the body of a 2xx answer, or of one that is accepted, as text.
   * @throws SourceError
   */
  async text(call: ApiCall): Promise<ApiAnswer> {
    const answer = await this.#exchange(call, call.method === 'GET');
    const good = answer.status >= 200 && answer.status < 300;
    if (good || call.accepted?.includes(answer.status) === true) return answer;
    const text = errorBody(answer.text);
    throw new SourceError(
      `${text === '' ? `the ${this.#options.peer} gave no reason` : text} (${this.#title(call)} answered ${answer.status})`,
      { code: answer.status === 404 ? 'NOT_FOUND' : 'API_ERROR', status: answer.status, text },
    );
  }

  #title(call: ApiCall): string {
    return `${call.method} ${this.#options.basePath}${call.path}`;
  }

  async #exchange(call: ApiCall, mayRetry: boolean): Promise<ApiAnswer> {
    try {
      return await this.#send(call);
    } catch (error) {
      // The peer may close a kept connection in the moment that it is used again; nothing was answered then.
      if (mayRetry && error instanceof ReusedSocketError) return this.#exchange(call, false);
      throw this.#failure(call, error instanceof ReusedSocketError ? error.cause : error);
    }
  }

  #send(call: ApiCall): Promise<ApiAnswer> {
    const { address, basePath, maxAnswerBytes = MAX_ANSWER_BYTES } = this.#options;
    const usualMs = call.method === 'GET' ? READ_TIMEOUT_MS : CHANGE_TIMEOUT_MS;
    const timeoutMs = call.timeoutMs ?? this.#options.timeoutMs ?? usualMs;
    const body = call.body === undefined ? undefined : stringifyJson(call.body);
    return new Promise((resolve, reject) => {
      const req = request({
        ...(address.kind === 'unix'
          ? // No TLS name: without one node:http compiles its address patterns, 3 ms of a command's 60.
            { socketPath: address.path, servername: '' }
          : { host: address.host, port: address.port }),
        method: call.method,
        path: `${basePath}${call.path}${queryText(call.query)}`,
        headers: requestHeaders(call, address, body),
      });
      const deadline = setTimeout(() => req.destroy(new TimeoutError(timeoutMs)), timeoutMs);
      const settle =
        <T>(act: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(deadline);
          act(value);
        };
      req.on(
        'error',
        settle((error: Error) => reject(req.reusedSocket ? new ReusedSocketError(error) : error)),
      );
      req.on('response', (response) => {
        readAnswer(response, maxAnswerBytes).then(settle(resolve), settle(reject));
      });
      req.end(body);
    });
  }

  #failure(call: ApiCall, cause: unknown): Error {
    if (cause instanceof SourceError) return cause;
    const { peer, hint, address } = this.#options;
    const where = `${peer} at ${this.name}`;
    if (cause instanceof TimeoutError) {
      const message = `the ${where} did not answer ${this.#title(call)} within ${cause.timeoutMs / 1000} s`;
      return new SourceError(message, {
        code: 'SOURCE_TIMEOUT',
        hint: 'it takes connections but is stuck or stopped: see its log; `ciliate bugtool` works without it',
        cause,
      });
    }
    const errno = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (errno === 'EACCES' || errno === 'EPERM') {
      return new SourceError(`not permitted to use the ${where}`, {
        code: 'SOURCE_NOT_PERMITTED',
        hint: `run as root, or as a member of the group that owns ${address.kind === 'unix' ? address.path : this.name}`,
        cause,
      });
    }
    return new SourceError(`cannot reach the ${where}`, { code: 'SOURCE_UNREACHABLE', hint, cause });
  }
}

/** The exchange took too long. */
class TimeoutError extends Error {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}

/** A kept connection broke before it answered. */
class ReusedSocketError extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

function requestHeaders(
  call: ApiCall,
  address: ApiAddress,
  body: string | undefined,
): Record<string, string | number> {
  return {
    accept: 'application/json',
    host: address.kind === 'unix' ? 'localhost' : `${address.host}:${address.port}`,
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    ...call.headers,
  };
}

function queryText(query: ApiCall['query']): string {
  const given = Object.entries(query ?? {}).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

async function readAnswer(response: IncomingMessage, maxBytes: number): Promise<ApiAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      throw new SourceError(`the answer is longer than ${maxBytes >> 20} MiB`, {
        code: 'SOURCE_BAD_ANSWER',
      });
    }
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}

/** The text of a failed call: a bare JSON string, or whatever came. */
function errorBody(text: string): string {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'string' ? parsed.trim() : text.trim();
  } catch (error) {
    if (error instanceof SyntaxError) return text.trim();
    throw error;
  }
}
