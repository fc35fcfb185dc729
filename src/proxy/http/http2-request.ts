import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { CHARS, TARGET } from './chars.ts';
import { isDisguise } from './disguise.ts';
import { readTarget, type Target } from './path.ts';
import { HOST_SHAPE } from './request-head.ts';
import type { HeaderEdit } from './rewrite.ts';
import type { JudgedRequest } from './rule-set.ts';

const NO_NAMES: readonly string[] = [];

/** A request of HTTP/2 as rules see it. */
export class Http2Request implements JudgedRequest {
  readonly method: string;
  readonly hostText: string;
  /** As received. */
  readonly target: string;
  readonly understood: Target;
  readonly #headers: IncomingHttpHeaders;
  readonly #repeated: ReadonlyMap<string, readonly string[]>;

  private constructor(
    headers: IncomingHttpHeaders,
    repeated: ReadonlyMap<string, readonly string[]>,
    understood: Target,
    hostText: string,
  ) {
    this.#headers = headers;
    this.#repeated = repeated;
    this.method = headers[':method'] ?? '';
    this.target = headers[':path'] ?? '';
    this.hostText = hostText;
    this.understood = understood;
  }

  /**
   * @param raw names and values in turn, as they came
   * @returns why the request is not acceptable, as a text
   */
  static read(headers: IncomingHttpHeaders, raw: readonly string[] = []): Http2Request | string {
    const repeated = repeatedFields(raw);
    for (const [name, values] of repeated)
      if (!isKept(headers[name], values)) return `${name} more than once`;
    const method = headers[':method'];
    const target = headers[':path'];
    if (method === undefined || method === 'CONNECT' || headers[':protocol'] !== undefined) return 'CONNECT';
    // Of the fields that are HTTP/1's, the one that nghttp2 lets in and Node does not pass on.
    if (headers['http2-settings'] !== undefined) return 'HTTP2-Settings in HTTP/2';
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
    return typeof understood === 'string'
      ? understood
      : new Http2Request(headers, repeated, understood, host);
  }

  get awaitsContinue(): boolean {
    return this.#headers.expect !== undefined;
  }

  /** Values of a field. Host is the same as `:authority` (RFC 9113 §8.3.1). */
  joined(lower: string): string | undefined {
    if (lower === 'host' && this.hostText !== '') return this.hostText;
    const repeated = this.#repeated.get(lower);
    if (repeated !== undefined) return repeated.join(',');
    const value = this.#headers[lower];
    return Array.isArray(value) ? value.join(',') : value;
  }

  disguised(lower: string): readonly string[] {
    const names = Object.keys(this.#headers).filter((name) => isDisguise(name, lower));
    return names.length === 0 ? NO_NAMES : names;
  }

  /** The headers for the server: with the path as it is understood, changed as rules want it. */
  outgoing(edits: readonly HeaderEdit[]): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = { ...this.#headers, ':path': this.understood.path };
    delete headers.expect;
    for (const { action, lower, value } of edits) {
      const name = lower === 'host' && headers[':authority'] !== undefined ? ':authority' : lower;
      const before = headers[name];
      if (action === 'DELETE') delete headers[name];
      else if (action === 'REPLACE' || before === undefined) headers[name] = value;
      else headers[name] = withValue(name, before, value);
    }
    return headers;
  }
}

/** A field with one value more, as one field: Node writes of many only one. Cookie is parted otherwise. */
function withValue(
  name: string,
  before: number | string | readonly string[],
  value: string,
): string | string[] {
  const values = [...(Array.isArray(before) ? before : [String(before)]), value];
  return name === 'cookie' ? values : values.join(', ');
}

/** Fields that came more than once, by name. Cookie is one field in pieces (RFC 9113 §8.2.3). */
function repeatedFields(raw: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const all = new Map<string, string[]>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const values = all.get(name);
    if (values === undefined) all.set(name, [raw[i + 1] ?? '']);
    else values.push(raw[i + 1] ?? '');
  }
  return new Map([...all].filter(([name, values]) => values.length > 1 && name !== 'cookie'));
}

/** Whether the server gets all values: of some fields Node passes the first one on alone. */
function isKept(value: string | readonly string[] | undefined, values: readonly string[]): boolean {
  return Array.isArray(value) ? value.length === values.length : value === values.join(', ');
}
