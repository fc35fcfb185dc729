import { UsageError } from '../../src/base/errors.ts';
import { compileDnsPattern, foldDnsName } from '../../src/model/dns-pattern.ts';
import { serverNameMatcher } from '../../src/model/server-name.ts';
import type { TraceL7 } from '../../src/policy/index.ts';
import { isDisguise } from '../../src/proxy/http/disguise.ts';
import { readTarget } from '../../src/proxy/http/path.ts';
import { HttpRuleSet, type JudgedRequest } from '../../src/proxy/http/rule-set.ts';
import { isServerName } from '../../src/proxy/tls/client-hello.ts';

export interface RequestWords {
  /** `PUT /v1/x`, or with `http://host/v1/x`. */
  readonly http: string | undefined;
  /** `Name: value` each. */
  readonly headers: readonly string[];
  readonly dns: string | undefined;
  /** That TLS asks for. */
  readonly serverName: string | undefined;
}

const refuse = (message: string, hint: string): UsageError =>
  new UsageError(message, { code: 'TRACE_REQUEST', hint });

function readHeaders(texts: readonly string[]): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const text of texts) {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(text) ?? [];
    if (name === undefined || value === undefined) {
      throw refuse(`${JSON.stringify(text)} is no header`, "write 'Name: value'");
    }
    const lower = name.toLowerCase();
    const before = headers.get(lower);
    headers.set(lower, before === undefined ? value : `${before},${value}`);
  }
  return headers;
}

/**
 * A request as the proxy reads it.
 * @param headers by their names in lower case
 * @throws UsageError TRACE_REQUEST when the proxy would answer 400
 */
export function readRequest(text: string, headers: ReadonlyMap<string, string>): JudgedRequest {
  const [, method, target] = /^(\S+)\s+(\S+)$/.exec(text.trim()) ?? [];
  if (method === undefined || target === undefined) {
    throw refuse(
      `--http ${JSON.stringify(text)} is no request`,
      "write 'GET /path' or 'GET http://host/path'",
    );
  }
  const host = headers.get('host') ?? /^http:\/\/([^/?]*)/i.exec(target)?.[1] ?? '';
  const understood = readTarget(method, target, host);
  if (typeof understood === 'string') {
    throw refuse(
      `the proxy answers 400 to ${JSON.stringify(text)}, whatever the rules say: ${understood}`,
      'the table in src/proxy/http/path.ts says which targets it refuses',
    );
  }
  const disguised = (lower: string): string[] =>
    [...headers.keys()].filter((name) => isDisguise(name, lower));
  const all = host === '' ? headers : new Map(headers).set('host', host);
  return { method, hostText: host, understood, joined: (lower) => all.get(lower), disguised };
}

function serverNameJudge(name: string): (l7: TraceL7) => boolean {
  if (!isServerName(name))
    throw refuse(
      `the proxy resets TLS to ${JSON.stringify(name)}, whatever the rules say: it is no host name`,
      'write it as clients do: letters, digits, -, _ and dots between them',
    );
  const lower = foldDnsName(name);
  return (l7) => l7.kind === 'tls' && l7.rules.some((pattern) => serverNameMatcher(pattern)(lower));
}

/**
 * The judge of the request that a user describes, the proxy's own; undefined when none is described. Rules of another
 * protocol never allow it.
 * @throws UsageError TRACE_REQUEST
 */
export function traceRequest(words: RequestWords): ((l7: TraceL7) => boolean) | undefined {
  const { http, headers, dns, serverName } = words;
  if (serverName !== undefined) return serverNameJudge(serverName);
  if (http !== undefined) {
    const request = readRequest(http, readHeaders(headers));
    return (l7) => {
      if (l7.kind === 'tls') return false;
      const filter = {
        protocol: 6,
        firstPort: 0,
        lastPort: 65535,
        peers: undefined,
        l7,
        ruleId: 0,
        ruleName: '',
      };
      return new HttpRuleSet([filter]).judge(request).allowed;
    };
  }
  if (dns === undefined) return undefined;
  const name = foldDnsName(dns);
  return (l7) => l7.kind === 'dns' && l7.rules.some((pattern) => compileDnsPattern(pattern)(name));
}
