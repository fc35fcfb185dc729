import { dnsPatternText } from '../model/dns-pattern.ts';
import type { HttpRule, KafkaRule, PairRule } from '../model/l7.ts';
import type { TraceL7 } from './trace-types.ts';

function httpText(rule: HttpRule): string {
  const parts = [
    rule.method,
    rule.path,
    rule.host === undefined ? undefined : `host ${rule.host}`,
    ...rule.headers.map((header) => `header ${header}`),
    ...rule.headerMatches.map(
      ({ name, value, secret }) =>
        `header ${name}${value === undefined ? '' : `: ${value}`}${secret === undefined ? '' : ` (Secret ${secret.namespace}/${secret.name})`}`,
    ),
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? 'http: every request' : `http: ${parts.join(' ')}`;
}

function kafkaText(rule: KafkaRule): string {
  const parts = [
    rule.role,
    rule.apiKey,
    rule.apiVersion === undefined ? undefined : `version ${rule.apiVersion}`,
    rule.clientId === undefined ? undefined : `client ${rule.clientId}`,
    rule.topic === undefined ? undefined : `topic ${rule.topic}`,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? 'kafka: every request' : `kafka: ${parts.join(' ')}`;
}

function pairText(kind: string, rule: PairRule): string {
  const pairs = Object.entries(rule).map(([key, value]) => `${key} ${value}`);
  return `${kind}: ${pairs.length === 0 ? 'every request' : pairs.join(', ')}`;
}

/** What L7 rules let through, for people, one text a rule: `http: PUT /v1/.*`. An empty list lets nothing through. */
export function l7Texts(l7: TraceL7): readonly string[] {
  if (l7.rules.length === 0) return [`${l7.kind}: no request (the list is empty)`];
  switch (l7.kind) {
    case 'http':
      return l7.rules.map(httpText);
    case 'kafka':
      return l7.rules.map(kafkaText);
    case 'tls':
      return l7.rules.map((name) => `tls: server ${name}`);
    case 'memcache':
    case 'cassandra':
    case 'r2d2':
      return l7.rules.map((rule) => pairText(l7.kind, rule));
    case 'other':
      return [`${l7.protocol}: nothing judges it: the flow is dropped`];
    case 'dns':
      return l7.rules.map((pattern) => `dns: ${dnsPatternText(pattern)}`);
  }
}
