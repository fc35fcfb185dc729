import { UsageError } from '../../src/base/errors.ts';
import { compileDnsPattern, foldDnsName } from '../../src/model/dns-pattern.ts';
import type { L7Filter } from '../../src/model/l7.ts';
import { serverNameMatcher } from '../../src/model/server-name.ts';
import type { TracedRequest, TraceL7 } from '../../src/policy/index.ts';
import { isDisguise } from '../../src/proxy/http/disguise.ts';
import { EditedRequest } from '../../src/proxy/http/edited-request.ts';
import { readTarget } from '../../src/proxy/http/path.ts';
import type { HeaderEdit } from '../../src/proxy/http/rewrite.ts';
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

/** What passes as it is or not at all. */
function unchanging(isAllowedBy: (l7: TraceL7) => boolean): TracedRequest {
  const request: TracedRequest = { isAllowedBy, leftBy: () => ({ request, changes: [] }) };
  return request;
}

function tlsRequest(name: string): TracedRequest {
  if (!isServerName(name))
    throw refuse(
      `the proxy resets TLS to ${JSON.stringify(name)}, whatever the rules say: it is no host name`,
      'write it as clients do: letters, digits, -, _ and dots between them',
    );
  const lower = foldDnsName(name);
  return unchanging(
    (l7) => l7.kind === 'tls' && l7.rules.some((pattern) => serverNameMatcher(pattern)(lower)),
  );
}

const CHANGES: Readonly<Record<HeaderEdit['action'], (edit: HeaderEdit) => string>> = {
  ADD: ({ name, value }) => `${name}: ${value} added`,
  DELETE: ({ name }) => `${name} removed`,
  REPLACE: ({ name, value }) => `${name}: ${value} in place of what there was`,
};

/** A request of HTTP, judged and changed by the proxy's own code. */
function httpRequest(judged: JudgedRequest): TracedRequest {
  const judge = (rules: readonly TraceL7[]) => new HttpRuleSet(rules.map(filterOf)).judge(judged);
  return {
    isAllowedBy: (l7) => l7.kind !== 'tls' && judge([l7]).allowed,
    leftBy: (rules) => {
      const { edits } = judge(rules);
      const changes = edits.map((edit) => CHANGES[edit.action](edit));
      return { request: httpRequest(new EditedRequest(judged, edits)), changes };
    },
  };
}

function filterOf(l7: TraceL7): L7Filter {
  return { protocol: 6, firstPort: 0, lastPort: 65535, peers: undefined, l7, ruleId: 0, ruleName: '' };
}

/**
 * The request that a user describes, as the proxy's own code judges it; undefined when none is described. Rules of another
 * protocol never allow it.
 * @throws UsageError TRACE_REQUEST
 */
export function traceRequest(words: RequestWords): TracedRequest | undefined {
  const { http, headers, dns, serverName } = words;
  if (serverName !== undefined) return tlsRequest(serverName);
  if (http !== undefined) return httpRequest(readRequest(http, readHeaders(headers)));
  if (dns === undefined) return undefined;
  const name = foldDnsName(dns);
  return unchanging(
    (l7) => l7.kind === 'dns' && l7.rules.some((pattern) => compileDnsPattern(pattern)(name)),
  );
}
