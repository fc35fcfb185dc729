import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorText } from '../../src/base/errors.ts';
import { remoteOf } from './admission.ts';
import { ROUTE_REQUESTS_MAX } from './constants.ts';

export interface RouteAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

/** A path that takes a POST with a body of bytes and answers with bytes. */
export interface ResponderRoute {
  readonly path: string;
  readonly bodyBytesMax: number;
  /** Whether somebody at that address (in text form) may ask: nothing is read of others. */
  admits(remoteAddress: string): boolean;
  /** What it throws is answered with 500. */
  answer(remoteAddress: string, body: Uint8Array): RouteAnswer;
}

const NO_BODY = new Uint8Array();
/**
 * Reads and answers requests to routes. What cannot be answered ends the connection, so that no body is read in vain:
 * 405 another method, 403 from nobody of ours, 411 no length, 413 too long, 503 too many at once.
 */
export class RouteRequests {
  readonly #byPath: ReadonlyMap<string, ResponderRoute>;
  #open = 0;

  constructor(routes: readonly ResponderRoute[]) {
    this.#byPath = new Map(routes.map((route) => [route.path, route]));
  }

  /** @returns false when no route has that path */
  take(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const route = this.#byPath.get(path);
    if (route === undefined) return false;
    const refusal = this.#refusal(route, request);
    if (refusal === undefined) this.#read(route, request, response);
    else respond(response, { status: refusal, body: NO_BODY }, true);
    return true;
  }

  #refusal(route: ResponderRoute, request: IncomingMessage): number | undefined {
    if (request.method !== 'POST') return 405;
    if (!route.admits(remoteOf(request.socket))) return 403;
    const length = request.headers['content-length'];
    if (length === undefined) return 411;
    if (Number(length) > route.bodyBytesMax) return 413;
    return this.#open >= ROUTE_REQUESTS_MAX ? 503 : undefined;
  }

  #read(route: ResponderRoute, request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    this.#open++;
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => respond(response, answerOf(route, remoteOf(request.socket), chunks), false));
    // A peer that goes away in the middle is its own affair: `close` follows.
    request.on('error', () => undefined);
    request.once('close', () => {
      this.#open--;
    });
  }
}

function answerOf(route: ResponderRoute, remoteAddress: string, chunks: readonly Buffer[]): RouteAnswer {
  try {
    return route.answer(remoteAddress, Buffer.concat(chunks));
  } catch (error) {
    return { status: 500, body: Buffer.from(JSON.stringify(errorText(error))) };
  }
}

function respond(response: ServerResponse, { status, body }: RouteAnswer, ends: boolean): void {
  const headers = { 'content-length': body.length, ...(ends ? { connection: 'close' } : {}) };
  response.writeHead(status, headers).end(body);
}
