import { CHARS, CR, HOST, SP, TARGET, TOKEN } from './chars.ts';
import { MessageHead, parseFields, TOO_MANY_FIELDS, tokens } from './message-head.ts';
import { readTarget, type Target } from './path.ts';

/** Most bytes of a method; the longest registered one has 18. */
const MAX_METHOD_BYTES = 32;
const VERSION = 'HTTP/1.';

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT'];

/** A request as the judge sees it. The object is reused from request to request of a connection. */
export class RequestHead extends MessageHead {
  method = '';
  /** As received. */
  target = '';
  targetStart = 0;
  targetEnd = 0;
  /** Of the `Host` field; empty when there is none. */
  hostText = '';
  /** What path and query the server will understand; as given by {@link readTarget}. */
  understood: Target = { path: '', bare: undefined, rewritten: false };
  /** Whether another protocol was asked for that can be passed on. */
  wantsUpgrade = false;
  /** Whether `Upgrade: h2c` has to be taken out. */
  stripsH2c = false;
  /** Status of the answer to a head that is not acceptable. */
  status = 400;

  /** @returns why the head is not acceptable, or undefined */
  parse(bytes: Buffer, start: number, end: number): string | undefined {
    this.reset(bytes, start, end);
    this.status = 400;
    this.wantsUpgrade = false;
    this.stripsH2c = false;
    return (
      this.#requestLine() ?? this.#hostField() ?? this.#target() ?? this.#expectation() ?? this.#upgrade()
    );
  }

  /** `method SP request-target SP HTTP-version CRLF`, RFC 9112 §3, with single spaces; then the fields. */
  #requestLine(): string | undefined {
    const { bytes } = this;
    let p = this.start;
    while (((CHARS[bytes[p] as number] as number) & TOKEN) !== 0) p++;
    if (p === this.start || bytes[p] !== SP || p - this.start > MAX_METHOD_BYTES) return 'bad method';
    this.method = methodText(bytes, this.start, p);
    this.targetStart = ++p;
    while (((CHARS[bytes[p] as number] as number) & TARGET) !== 0) p++;
    this.targetEnd = p;
    if (bytes[p] !== SP)
      return bytes[p] === CR ? 'no version in the request line' : 'bad character in the target';
    if (p === this.targetStart) return 'empty target';
    p++;
    for (let i = 0; i < VERSION.length; i++)
      if (bytes[p + i] !== VERSION.charCodeAt(i)) return this.#versionProblem();
    this.minor = (bytes[p + 7] as number) - 0x30;
    if ((this.minor !== 0 && this.minor !== 1) || bytes[p + 8] !== CR) return this.#versionProblem();
    if (!this.#sameTarget()) this.target = bytes.toString('latin1', this.targetStart, this.targetEnd);
    const problem = parseFields(this, p + 10);
    if (problem === TOO_MANY_FIELDS) this.status = 431;
    return problem;
  }

  #versionProblem(): string {
    this.status = 505;
    return 'not HTTP/1.0 or HTTP/1.1';
  }

  /** Whether the target is that of the request before: most connections ask for few. */
  #sameTarget(): boolean {
    return equals(this.bytes, this.targetStart, this.targetEnd, this.target);
  }

  /** RFC 9112 §3.2: exactly one, of characters that a host and port have. */
  #hostField(): string | undefined {
    if (this.host < 0) {
      this.hostText = '';
      return this.minor === 0 ? undefined : 'no Host';
    }
    const start = this.valueStart(this.host);
    const end = this.valueEnd(this.host);
    if (equals(this.bytes, start, end, this.hostText)) return undefined;
    for (let p = start; p < end; p++) {
      if (((CHARS[this.bytes[p] as number] as number) & HOST) === 0) return 'bad Host';
    }
    const text = this.bytes.toString('latin1', start, end);
    if (!HOST_SHAPE.test(text)) return 'bad Host';
    this.hostText = text;
    return undefined;
  }

  #target(): string | undefined {
    if (this.method === 'CONNECT') {
      this.status = 405;
      return 'CONNECT';
    }
    if (this.method === 'PRI') return 'HTTP/2 preface inside HTTP/1';
    const understood = readTarget(this.method, this.target, this.hostText);
    if (typeof understood === 'string') return understood;
    this.understood = understood;
    return undefined;
  }

  #expectation(): string | undefined {
    if (this.expect < 0) return undefined;
    if (this.minor === 1 && this.value(this.expect).toLowerCase() === '100-continue') return undefined;
    this.status = 417;
    return 'unknown expectation';
  }

  /**
   * Another protocol may be asked for by a GET without a body only: else the bytes behind the head are body to one and
   * the other protocol to another. HTTP/2 is never passed on this way, since its requests could not be judged.
   */
  #upgrade(): string | undefined {
    if (this.http2Settings < 0 && this.upgrade < 0) return undefined;
    const asked = this.upgrade < 0 ? [] : tokens(this.value(this.upgrade));
    if (asked.some((protocol) => /^h2/.test(protocol) || /^http/.test(protocol)) || this.http2Settings >= 0) {
      if (asked.length > 1 || this.connections > 1) return 'upgrade to HTTP/2 among others';
      this.stripsH2c = true;
      return undefined;
    }
    if (!this.upgradeToken || this.minor === 0) return 'Upgrade without Connection: upgrade';
    if (this.method !== 'GET' || this.chunked || this.contentLength > 0)
      return 'Upgrade of another request than a plain GET';
    this.wantsUpgrade = true;
    return undefined;
  }

  /** Whether a body follows. */
  get hasBody(): boolean {
    return this.chunked || this.contentLength > 0;
  }
}

/** A `Host` value: name or address, with or without a port; or nothing. */
export const HOST_SHAPE = /^(?:[A-Za-z0-9._~-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/;

function equals(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

function methodText(bytes: Buffer, start: number, end: number): string {
  for (const method of METHODS) if (equals(bytes, start, end, method)) return method;
  return bytes.toString('latin1', start, end);
}
