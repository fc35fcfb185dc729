import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DecidingRules, PolicyActivity } from '../../src/agent/policy-activity.ts';
import type { PolicyVerdictEvent, TraceEvent } from '../../src/model/event.ts';
import type { AccessLogRecord, L7Filter, L7Policy } from '../../src/model/l7.ts';

/** What events of both kinds tell of the same packet. */
const PACKET = {
  cpu: 0,
  hash: 1,
  srcIdentity: 300,
  dstIdentity: 400,
  dstEndpoint: 7,
  ifindex: 1,
  lengthBytes: 60,
  summary: '10.0.0.1:4000 -> 10.0.0.2:80 tcp SYN',
  capture: '',
} as const;

const verdict = (more: Partial<PolicyVerdictEvent>): PolicyVerdictEvent => ({
  kind: 'policy-verdict',
  monotonicNs: '1',
  ...PACKET,
  source: 7,
  direction: 'ingress',
  remoteIdentity: 300,
  verdict: 0,
  match: 2,
  protocol: 6,
  destinationPort: 80,
  ruleId: 3,
  ...more,
});

const passed = (more: Partial<TraceEvent>): TraceEvent => ({
  kind: 'trace',
  monotonicNs: '2000',
  ...PACKET,
  source: 5,
  observationPoint: 0,
  state: 0,
  protocol: 6,
  destinationPort: 80,
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

/** Each look at it is two seconds later. */
function slowClock(): () => Date {
  let ms = -2000;
  return () => {
    ms += 2000;
    return new Date(ms);
  };
}

describe('the activity of rules', () => {
  it('remembers each kind of flow once, the last seen first', () => {
    const activity = new PolicyActivity(slowClock());
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
    assert.equal(since, '1970-01-01T00:00:02.000Z');
  });

  it('forgets the flow that was seen longest ago, never more', () => {
    const activity = new PolicyActivity(() => new Date(0));
    activity.add(Array.from({ length: 5000 }, (_, i) => verdict({ destinationPort: i })));
    const { flows } = activity.flows();
    assert.equal(flows.length, 4096);
    assert.equal(flows.at(-1)?.['destination-port'], 904);
  });

  it('tells of flows that no rule had a say in by their traces, at both ends that are endpoints here', () => {
    const activity = new PolicyActivity(() => new Date(0));
    activity.add([
      passed({}),
      passed({ source: 7, srcIdentity: 500, hash: 2 }),
      passed({ source: 7, state: 1, destinationPort: 81, hash: 3 }),
      passed({ observationPoint: 6, destinationPort: 82, hash: 4 }),
    ]);
    assert.deepEqual(
      activity
        .flows()
        .flows.map((flow) => [
          flow.endpoint,
          flow.direction,
          flow['remote-identity'],
          flow.verdict,
          flow['rule-id'],
        ]),
      [
        [7, 'ingress', 500, 'allow', 0],
        [7, 'ingress', 300, 'allow', 0],
        [5, 'egress', 400, 'allow', 0],
      ],
    );
  });

  it('counts a packet once that a rule judged and that went on', () => {
    const activity = new PolicyActivity(slowClock());
    activity.add([verdict({ verdict: 15001 }), passed({})]);
    const later = passed({ monotonicNs: '20000000000' });
    const shown = () => activity.flows().flows.map((flow) => [flow.direction, flow.verdict, flow.count]);
    assert.deepEqual(shown(), [
      ['egress', 'allow', 1],
      ['ingress', 'redirect', 1],
    ]);
    activity.add([later]);
    assert.deepEqual(shown(), [
      ['ingress', 'allow', 2],
      ['egress', 'allow', 2],
    ]);
  });

  it('keeps addresses outside apart, whatever identity they had, and those inside together', () => {
    const activity = new PolicyActivity(() => new Date(0));
    const from = (address: string, remoteIdentity: number): PolicyVerdictEvent =>
      verdict({ remoteIdentity, summary: `${address} -> 10.0.0.2:80 tcp SYN` });
    activity.add([from('192.0.2.1:4000', 2), from('192.0.2.2:4000', 2), from('192.0.2.1:4001', 1 << 24)]);
    activity.add([from('[2001:db8::1]:4000', 10), from('10.0.0.1:1', 300), from('10.0.0.9:2', 300)]);
    assert.deepEqual(
      activity
        .flows()
        .flows.map(({ source, count }) => [source, count])
        .sort(),
      [
        ['10.0.0.9:2', 2],
        ['[2001:db8::1]:4000', 1],
        ['192.0.2.1:4001', 2],
        ['192.0.2.2:4000', 1],
      ].sort(),
    );
  });

  it('lets no crowd outside push out what is known of the cluster', () => {
    const activity = new PolicyActivity(() => new Date(0));
    activity.add([verdict({})]);
    activity.add(
      Array.from({ length: 9000 }, (_, i) =>
        verdict({ remoteIdentity: 2, summary: `192.0.${i >> 8}.${i & 255}:9 -> 10.0.0.2:80 tcp SYN` }),
      ),
    );
    const { flows } = activity.flows();
    assert.equal(flows.length, 4097);
    assert.ok(flows.some((flow) => flow['remote-identity'] === 300));
  });

  it('forgets the flows of an endpoint that is gone', () => {
    const activity = new PolicyActivity(() => new Date(0));
    activity.add([verdict({}), verdict({ source: 8 })]);
    activity.removeEndpoint(7);
    assert.deepEqual(
      activity.flows().flows.map(({ endpoint }) => endpoint),
      [8],
    );
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

describe('the rules that decided a request', () => {
  const http = { kind: 'http', rules: [] } as const;
  const filter = (ruleId: number, more: Partial<L7Filter>): L7Filter => ({
    protocol: 6,
    firstPort: 80,
    lastPort: 80,
    peers: [300],
    l7: http,
    ruleId,
    ruleName: `r${ruleId}`,
    ...more,
  });
  const policy: L7Policy = {
    revision: 1,
    subjects: [
      {
        subject: 400,
        ingress: [
          filter(1, {}),
          filter(2, { peers: [301] }),
          filter(3, { firstPort: 79, lastPort: 81, peers: undefined, l7: undefined }),
          filter(4, { ruleName: 'r1' }),
          filter(5, { protocol: 17 }),
          filter(0, {}),
        ],
        egress: undefined,
      },
    ],
  };
  const rules = new DecidingRules(policy);

  it('are those that it names and that cover its peer and port', () => {
    assert.deepEqual(rules.of(record({ rules: ['r1'] })), [1, 4]);
    assert.deepEqual(rules.of(record({ rules: ['r2', 'r3', 'r9'] })), [3]);
    assert.deepEqual(rules.of(record({ rules: ['r5'] })), []);
    const other = { address: '10.0.0.3', port: 4000, identity: 301, endpoint: 0 };
    assert.deepEqual(rules.of(record({ rules: ['r1', 'r2'], source: other })), [2]);
  });

  it('are those that judge there where none let it pass', () => {
    assert.deepEqual(rules.of(record({ verdict: 'denied' })), [1, 4]);
    const elsewhere = { address: '10.0.0.2', port: 82, identity: 400, endpoint: 7 };
    assert.deepEqual(rules.of(record({ verdict: 'denied', destination: elsewhere })), []);
    assert.deepEqual(rules.of(record({ verdict: 'denied', direction: 'egress' })), []);
  });
});
