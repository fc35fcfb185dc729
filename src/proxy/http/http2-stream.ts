import type { ClientHttp2Stream, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { errorText } from '../../base/errors.ts';

/** Errors of Node's by which it says that it does not write what it was given, or not to this stream. */
const REFUSED = /^ERR_(?:HTTP2_|INVALID_|HTTP_INVALID_)/;

/** What Node gave, or why it refused. */
export type Tried<T> = { readonly value: T } | { readonly refused: string };

/**
 * Writes something of HTTP/2. Node throws for what it does not write though it has read it (a status beyond 599,
 * HTTP2-Settings), and for streams that were reset meanwhile; thrown in the listener of an event that ends the process.
 */
export function tried<T>(write: () => T): Tried<T> {
  try {
    return { value: write() };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!REFUSED.test(code)) throw error;
    return { refused: errorText(error) };
  }
}

/** Whether an answer can begin: not on a stream that the client has reset, which may be open for its bytes still. */
export function takesAnswer(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && !stream.closed && !stream.headersSent;
}

/** Answers in the proxy's own name. */
export function answer(stream: ServerHttp2Stream, status: number, body: string): void {
  if (!takesAnswer(stream)) return;
  stream.respond({ ':status': status, 'content-type': 'text/plain', 'content-length': body.length });
  stream.end(body);
  // What the client still sends is thrown away; it does not have to send it.
  stream.resume();
}

/**
 * Passes a body on with the trailers behind it.
 * @param mayTrail whether trailers of these names may go on; false: it has ended the stream
 */
export function joinBodies(
  from: ServerHttp2Stream | ClientHttp2Stream,
  to: ServerHttp2Stream | ClientHttp2Stream,
  mayTrail: (names: readonly string[]) => boolean = () => true,
): void {
  let trailers: IncomingHttpHeaders = {};
  from.on('trailers', (headers: IncomingHttpHeaders) => {
    if (mayTrail(Object.keys(headers))) trailers = headers;
  });
  to.on('wantTrailers', () => {
    if ('refused' in tried(() => to.sendTrailers({ ...trailers }))) to.close(PROTOCOL_ERROR);
  });
  from.pipe(to);
}

/** RFC 9113 §7. */
const PROTOCOL_ERROR = 1;
