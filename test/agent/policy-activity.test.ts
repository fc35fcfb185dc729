import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PolicyActivity } from '../../src/agent/policy-activity.ts';
import type { PolicyVerdictEvent } from '../../src/model/event.ts';
import type { AccessLogRecord } from '../../src/model/l7.ts';

const verdict = (more: Partial<PolicyVerdictEvent>): PolicyVerdictEvent => ({
  kind: 'policy-verdict',
  monotonicNs: '1',
  cpu: 0,
  source: 7,
  hash: 1,
  srcIdentity: 300,
  dstIdentity: 400,
  dstEndpoint: 7,
  ifindex: 1,
  lengthBytes: 60,
  summary: '10.0.0.1:4000 -> 10.0.0.2:80 tcp SYN',
  capture: '',
  direction: 'ingress',
  remoteIdentity: 300,
  verdict: 0,
  match: 2,
  protocol: 6,
  destinationPort: 80,
  ruleId: 3,
  ...more,
});

const record = (more: Partial<AccessLogRecord>): AccessLogRecord => ({
  kind: 'l7',
  time: '2026-01-01T00:00:00Z',
  type: 'request',
  verdict: 'forwarded',
  direction: 'ingress',
  source: { address: '10.0.0.1', port: 4000, identity: 300, endpoint: 0 },
  destination: { address: '10.0.0.2', port: 80, identity: 400, endpoint: 7 },
  rules: [],
  reason: '',
  latencyNs: 0,
  l7: { kind: 'http', method: 'GET', path: '/', host: 'h', protocol: 'HTTP/1.1', status: 0 },
  ...more,
});

describe('the activity of rules', () => {
  it('remembers each kind of flow once, the last seen first', () => {
    const activity = new PolicyActivity(() => new Date(0));
    activity.add([verdict({}), verdict({ destinationPort: 81, ruleId: 0, verdict: -133 }), verdict({})]);
    const { flows, since } = activity.flows();
    assert.deepEqual(
      flows.map((flow) => [
        flow['destination-port'],
        flow.verdict,
        flow.count,
        flow['rule-id'],
        flow.identity,
      ]),
      [
        [80, 'allow', 2, 3, 400],
        [81, 'deny', 1, 0, 400],
      ],
    );
    assert.equal(flows[0]?.source, '10.0.0.1:4000');
    assert.equal(since, '1970-01-01T00:00:00.000Z');
  });

  it('forgets the flow that was seen longest ago, never more', () => {
    const activity = new PolicyActivity(() => new Date(0));
    activity.add(Array.from({ length: 5000 }, (_, i) => verdict({ destinationPort: i })));
    const { flows } = activity.flows();
    assert.equal(flows.length, 4096);
    assert.equal(flows.at(-1)?.['destination-port'], 904);
  });

  it('counts requests once each, not their answers, and forgets rules that are gone', () => {
    const activity = new PolicyActivity(() => new Date(0));
    const rulesOf = () => [3];
    activity.addRequests(
      [record({}), record({ type: 'response' }), record({ verdict: 'denied' }), record({ verdict: 'error' })],
      rulesOf,
    );
    assert.deepEqual(activity.requestsOf(3), { allowed: 1, denied: 1 });
    activity.retainRules(new Set([4]));
    assert.deepEqual(activity.requestsOf(3), { allowed: 0, denied: 0 });
  });
});
