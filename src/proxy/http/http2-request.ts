import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { CHARS, TARGET } from './chars.ts';
import { readTarget, type Target } from './path.ts';
import { HOST_SHAPE } from './request-head.ts';
import type { HeaderEdit } from './rewrite.ts';
import type { JudgedRequest } from './rule-set.ts';

/** A request of HTTP/2 as rules see it. */
export class Http2Request implements JudgedRequest {
  readonly method: string;
  readonly hostText: string;
  /** As received. */
  readonly target: string;
  readonly understood: Target;
  readonly #headers: IncomingHttpHeaders;

  private constructor(headers: IncomingHttpHeaders, understood: Target, hostText: string) {
    this.#headers = headers;
    this.method = headers[':method'] ?? '';
    this.target = headers[':path'] ?? '';
    this.hostText = hostText;
    this.understood = understood;
  }

  /** @returns why the request is not acceptable, as a text */
  static read(headers: IncomingHttpHeaders): Http2Request | string {
    const method = headers[':method'];
    const target = headers[':path'];
    if (method === undefined || method === 'CONNECT' || headers[':protocol'] !== undefined) return 'CONNECT';
    const authority = headers[':authority'];
    if (authority !== undefined && headers.host !== undefined && authority !== headers.host) {
      return ':authority and Host differ';
    }
    const host = authority ?? headers.host ?? '';
    if (!HOST_SHAPE.test(host)) return 'bad Host';
    if (target === undefined || (target !== '*' && !target.startsWith('/'))) return 'bad target';
    for (let i = 0; i < target.length; i++) {
      if (((CHARS[target.charCodeAt(i)] ?? 0) & TARGET) === 0) return 'bad character in the target';
    }
    const understood = readTarget(method, target, host);
    return typeof understood === 'string' ? understood : new Http2Request(headers, understood, host);
  }

  get awaitsContinue(): boolean {
    return this.#headers.expect !== undefined;
  }

  joined(lower: string): string | undefined {
    const value = this.#headers[lower];
    return Array.isArray(value) ? value.join(',') : value;
  }

  /** The headers for the server: with the path as it is understood, changed as rules want it. */
  outgoing(edits: readonly HeaderEdit[]): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = { ...this.#headers, ':path': this.understood.path };
    delete headers.expect;
    for (const { action, lower, value } of edits) {
      const before = headers[lower];
      if (action === 'DELETE') delete headers[lower];
      else if (action === 'REPLACE' || before === undefined) headers[lower] = value;
      else headers[lower] = [...(Array.isArray(before) ? before : [String(before)]), value];
    }
    return headers;
  }
}
