import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PolicyVerdictEvent } from '../../src/model/event.ts';
import type { AccessLogRecord } from '../../src/model/l7.ts';
import { accessLogText } from '../../src/view/access-log.ts';
import { monitorJson, monitorText } from '../../src/view/monitor.ts';

const REQUEST: AccessLogRecord = {
  kind: 'l7',
  time: '2026-11-29T08:00:00Z',
  type: 'request',
  verdict: 'denied',
  direction: 'ingress',
  source: { address: '10.0.0.1', port: 4000, identity: 1001, endpoint: 0 },
  destination: { address: 'fd00::3', port: 80, identity: 1003, endpoint: 1234 },
  rules: [],
  reason: 'no rule allows it',
  latencyNs: 0,
  l7: {
    kind: 'http',
    method: 'PUT',
    path: '/v1/exhaust-port',
    host: 'deathstar',
    protocol: 'HTTP/1.1',
    status: 403,
  },
};
const LABELS: Readonly<Record<number, readonly string[]>> = {
  1001: ['k8s:org=empire', 'k8s:class=tiefighter'],
  1003: ['k8s:class=deathstar'],
};
const labelsOf = (id: number): readonly string[] | undefined => LABELS[id];

describe('accessLogText', () => {
  it('prints a request as Cilium does with --compat', () => {
    assert.equal(
      accessLogText(REQUEST, { compat: '1.19', labelsOf }),
      '<- Request http from 0 ([k8s:class=tiefighter k8s:org=empire]) to 1234 ([k8s:class=deathstar]), identity 1001->1003, verdict Denied PUT http://deathstar/v1/exhaust-port => 403',
    );
  });

  it('shows whom a connection with TLS asks for, or that it names nobody', () => {
    const shown = (serverName: string): string =>
      accessLogText({ ...REQUEST, l7: { kind: 'tls', serverName } });
    assert.match(
      shown('www.example.org'),
      /^<- Request tls from .* verdict Denied server www\.example\.org \(no rule allows it\)$/,
    );
    assert.match(shown(''), /verdict Denied no server name \(/);
  });

  it('adds the reason or the rules, and shows addresses where labels are not known', () => {
    assert.equal(
      accessLogText(REQUEST),
      '<- Request http from 0 (10.0.0.1:4000) to 1234 ([fd00::3]:80), identity 1001->1003, verdict Denied PUT http://deathstar/v1/exhaust-port => 403 (no rule allows it)',
    );
    const answer: AccessLogRecord = {
      ...REQUEST,
      type: 'response',
      verdict: 'forwarded',
      reason: '',
      rules: ['default/rule1'],
      latencyNs: 1_234_567,
    };
    assert.match(
      accessLogText(answer),
      /^-> Response http .* verdict Forwarded .* \(by default\/rule1; after 1\.235 ms\)$/,
    );
  });

  it('leaves out a status that there is not yet', () => {
    const l7 = { ...REQUEST.l7, status: 0 } as AccessLogRecord['l7'];
    const asked: AccessLogRecord = { ...REQUEST, l7, verdict: 'forwarded', reason: '' };
    assert.match(accessLogText(asked), /PUT http:\/\/deathstar\/v1\/exhaust-port$/);
    assert.match(accessLogText(asked, { compat: '2018' }), /exhaust-port => 0$/);
  });

  it('prints DNS and Kafka', () => {
    const dns = {
      kind: 'dns',
      query: 'a.example.com',
      queryTypes: ['A'],
      rcode: 0,
      addresses: ['192.0.2.1'],
      cnames: ['b.example.com'],
      ttlSeconds: 30,
    } as const;
    const answer = { ...REQUEST, verdict: 'forwarded', reason: '', type: 'response' } as const;
    assert.match(
      accessLogText({ ...answer, l7: dns }),
      /Forwarded a\.example\.com A => rcode 0 b\.example\.com, 192\.0\.2\.1 ttl 30$/,
    );
    assert.match(
      accessLogText({ ...REQUEST, reason: '', l7: { ...dns, rcode: 5, addresses: [], cnames: [] } }),
      /Denied a\.example\.com A => rcode 5$/,
    );
    const kafka = {
      kind: 'kafka',
      apiKey: 0,
      apiVersion: 2,
      correlationId: 7,
      topics: ['x'],
      errorCode: 29,
    } as const;
    assert.match(
      accessLogText({ ...REQUEST, reason: '', l7: kafka }),
      /Denied api key 0 version 2 correlation 7 topics x => 29$/,
    );
  });

  it('escapes what a path, host or label would make a terminal do, also new lines', () => {
    const l7 = {
      ...REQUEST.l7,
      path: '/a\u001b[2J\nPolicy verdict log:',
      host: 'h\u202e',
    } as AccessLogRecord['l7'];
    const text = monitorText({ ...REQUEST, l7 }, { labelsOf: () => ['k8s:a=\u009b1m'] });
    assert.equal(text.split('\n').length, 2);
    assert.ok(text.includes('/a\\x1b[2J\\nPolicy') && text.includes('h\\u202e') && text.includes('\\x9b1m'));
    assert.ok(!monitorJson({ ...REQUEST, l7 }).includes('\u001b'));
  });
});

describe('a verdict in monitor', () => {
  const event: PolicyVerdictEvent = {
    kind: 'policy-verdict',
    monotonicNs: '1',
    cpu: 0,
    source: 5,
    hash: 1,
    srcIdentity: 1001,
    dstIdentity: 1003,
    dstEndpoint: 5,
    ifindex: 2,
    lengthBytes: 54,
    summary: '10.0.0.1:4000 -> 10.0.0.3:80 tcp SYN',
    capture: '',
    direction: 'ingress',
    remoteIdentity: 1001,
    verdict: 0,
    match: 2,
    protocol: 6,
    destinationPort: 80,
    ruleId: 42,
  };

  it('names the rule that decided, by its number where the name is not known', () => {
    const named = monitorText(event, { ruleName: (id) => (id === 42 ? 'default/rule1' : undefined) });
    assert.match(named, /match L3-L4, rule #42 default\/rule1, 10\.0\.0\.1:4000 -> /);
    assert.match(monitorText(event), /rule #42, 10\.0\.0\.1/);
  });

  it('names none where none decided, and in recorded layouts', () => {
    assert.doesNotMatch(monitorText({ ...event, ruleId: 0, verdict: -133 }), /rule/);
    assert.doesNotMatch(monitorText(event, { compat: '1.19', ruleName: () => 'x' }), /rule/);
  });
});
