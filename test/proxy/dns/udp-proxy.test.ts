import assert from 'node:assert/strict';
import { beforeEach, describe, it, mock } from 'node:test';
import {
  a,
  answerTo,
  CLIENT,
  cname,
  decoded,
  dnsFilter,
  flow,
  query,
  type RigOptions,
  SERVER,
  SERVER_IDENTITY,
  tableOf,
  udpRig,
} from './desk-rig.ts';

type Rig = ReturnType<typeof udpRig>;

function ask(rig: Rig, bytes: Uint8Array, from = flow()): void {
  rig.sockets.handlers.onQuery(from, bytes);
}

/** Lets the last query that went to a server be answered. */
function serve(
  rig: Rig,
  records: Parameters<typeof answerTo>[1],
  changes: Parameters<typeof answerTo>[2] = {},
): void {
  const { tag, bytes } = rig.sockets.sent.at(-1) ?? { tag: 0, bytes: new Uint8Array() };
  rig.sockets.handlers.onAnswer(tag, answerTo(bytes, records, changes));
}

function rcodeFor(name: string, options: RigOptions): string {
  const rig = udpRig(options);
  ask(rig, query(name));
  return rig.sockets.sent.length > 0
    ? 'forwarded'
    : (decoded(rig.sockets.replies[0]?.bytes).rcode ?? 'dropped');
}

function advance(rig: Rig, ms: number): void {
  rig.state.nowNs += ms * 1e6;
  mock.timers.tick(ms);
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout'] });
});

describe('a query', () => {
  it('for a name that a rule allows goes to the server as it is, from a socket of its flow', () => {
    const rig = udpRig();
    const bytes = query('wWw.x.IO', 7);
    ask(rig, bytes);
    assert.deepEqual([...rig.sockets.open.values()], [flow()]);
    assert.deepEqual(
      rig.sockets.sent.map(({ bytes: sent }) => Buffer.from(sent)),
      [bytes],
    );
    assert.deepEqual(rig.sockets.replies, []);
    assert.deepEqual(rig.log, [
      {
        kind: 'l7',
        time: '2026-01-01T00:00:00.000Z',
        type: 'request',
        verdict: 'forwarded',
        direction: 'egress',
        source: { address: CLIENT, port: 40_000, identity: 300, endpoint: 7 },
        destination: { address: SERVER, port: 53, identity: SERVER_IDENTITY, endpoint: 0 },
        rules: ['r'],
        reason: '',
        latencyNs: 0,
        l7: {
          kind: 'dns',
          query: 'www.x.io',
          queryTypes: ['A'],
          rcode: undefined,
          addresses: [],
          cnames: [],
          ttlSeconds: 0,
        },
      },
    ]);
  });

  it('for another name is refused, and the server hears nothing', () => {
    const rig = udpRig();
    ask(rig, query('x.io', 9));
    assert.deepEqual(rig.sockets.sent, []);
    assert.equal(rig.sockets.open.size, 0);
    const { id, rcode, questions } = decoded(rig.sockets.replies[0]?.bytes);
    assert.deepEqual({ id, rcode, name: questions?.[0]?.name }, { id: 9, rcode: 'REFUSED', name: 'x.io' });
    assert.deepEqual(rig.sockets.replies[0]?.flow, flow());
    assert.equal(rig.log[0]?.verdict, 'denied');
    assert.equal(rig.log[0]?.l7.kind === 'dns' && rig.log[0].l7.rcode, 5);
    assert.equal(rig.counters.denied, 1);
  });

  it('is judged by the union of all rules for the peer and port', () => {
    const r1 = dnsFilter('one', ['a.io']);
    const other = dnsFilter('other', ['b.io'], { peers: [4711] });
    const port = dnsFilter('port', ['c.io'], { firstPort: 54, lastPort: 54 });
    const http = dnsFilter('http', undefined, { l7: { kind: 'http', rules: [] } });
    const table = tableOf([r1, dnsFilter('two', ['*.b.io']), other, port, http, dnsFilter('none', [])]);
    const names = ['a.io', 'x.b.io', 'b.io', 'c.io', 'y.io'].map((name) => rcodeFor(name, { table }));
    assert.deepEqual(names, ['forwarded', 'forwarded', 'REFUSED', 'REFUSED', 'REFUSED']);
    const all = tableOf([r1, dnsFilter('l3', undefined, { peers: [SERVER_IDENTITY] })]);
    assert.equal(rcodeFor('y.io', { table: all }), 'forwarded');
    assert.equal(
      rcodeFor('y.io', { table: tableOf(undefined) }),
      'forwarded',
      'a direction that is not judged',
    );
    assert.equal(rcodeFor('y.io', { table: tableOf([]) }), 'REFUSED');
  });

  it('is judged by the policy in force when it comes', () => {
    const rig = udpRig();
    ask(rig, query('www.x.io', 1));
    rig.state.table = tableOf([dnsFilter('new', ['other.io'])]);
    ask(rig, query('www.x.io', 2));
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).id, 2);
  });

  it('before there is a policy is answered SERVFAIL', () => {
    const rig = udpRig();
    rig.state.table = undefined;
    ask(rig, query('www.x.io'));
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).rcode, 'SERVFAIL');
    assert.equal(rig.sockets.sent.length, 0);
  });

  it('of a flow that the kernel does not know, or of no endpoint of here, is refused', () => {
    assert.equal(rcodeFor('www.x.io', { identities: undefined }), 'REFUSED');
    const rig = udpRig();
    ask(rig, query('www.x.io'), flow(1, '192.0.2.200'));
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).rcode, 'REFUSED');
  });

  it('that cannot be read is answered or dropped, and counted', () => {
    const rig = udpRig();
    const bad = query('www.x.io', 3);
    bad.writeUInt16BE(2, 4);
    ask(rig, bad);
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).rcode, 'FORMERR');
    ask(rig, answerTo(query('www.x.io'), []));
    ask(rig, Buffer.alloc(5));
    ask(rig, Buffer.concat([query('www.x.io'), Buffer.alloc(5000)]));
    assert.equal(rig.sockets.replies.length, 1);
    assert.equal(rig.counters.malformedQueries, 3);
    assert.equal(rig.counters.oversizedQueries, 1);
    assert.equal(rig.log[0]?.verdict, 'error');
  });

  it('that is sent again goes to the server again and waits once', () => {
    const rig = udpRig();
    ask(rig, query('www.x.io', 1));
    ask(rig, query('www.x.io', 1));
    assert.equal(rig.sockets.sent.length, 2);
    assert.equal(rig.desk.inFlight, 1);
    assert.equal(rig.counters.repeatedQueries, 1);
    serve(rig, []);
    serve(rig, []);
    assert.equal(rig.sockets.replies.length, 1);
    assert.equal(rig.counters.foreignAnswers, 1);
  });

  it('with the id of another of its port waits beside it', () => {
    const rig = udpRig();
    ask(rig, query('a.x.io', 1));
    ask(rig, query('b.x.io', 1));
    const [first, second] = rig.sockets.sent;
    assert.equal(first?.tag, second?.tag);
    rig.sockets.handlers.onAnswer(second?.tag ?? 0, answerTo(second?.bytes ?? Buffer.alloc(0), []));
    rig.sockets.handlers.onAnswer(first?.tag ?? 0, answerTo(first?.bytes ?? Buffer.alloc(0), []));
    assert.deepEqual(
      rig.sockets.replies.map(({ bytes }) => decoded(bytes).questions?.[0]?.name),
      ['b.x.io', 'a.x.io'],
    );
  });

  it('beyond the limit of its endpoint is dropped and counted, and room comes back', () => {
    const rig = udpRig({ limits: { inFlightPerEndpoint: 2 } });
    for (const id of [1, 2, 3]) ask(rig, query('www.x.io', id));
    assert.equal(rig.sockets.sent.length, 2);
    assert.equal(rig.counters.limitedQueries, 1);
    serve(rig, []);
    ask(rig, query('www.x.io', 4));
    assert.equal(rig.sockets.sent.length, 3);
  });

  it('for which there is no socket, or no server, is answered SERVFAIL', () => {
    const rig = udpRig();
    rig.sockets.connectResult = -98;
    ask(rig, query('www.x.io', 1));
    rig.sockets.connectResult = 0;
    rig.sockets.sendResult = -101;
    ask(rig, query('www.x.io', 2));
    rig.sockets.sendResult = 0;
    ask(rig, query('www.x.io', 3));
    rig.sockets.handlers.onError(rig.sockets.sent.at(-1)?.tag ?? 0, 'ECONNREFUSED');
    const answers = rig.sockets.replies.map(({ bytes }) => decoded(bytes));
    assert.deepEqual(
      answers.map(({ id, rcode }) => [id, rcode]),
      [1, 2, 3].map((id) => [id, 'SERVFAIL']),
    );
    assert.equal(rig.desk.inFlight, 0);
  });

  it('without answer is given up in time', () => {
    const rig = udpRig({ limits: { answerTimeoutMs: 1000 } });
    ask(rig, query('www.x.io', 1));
    advance(rig, 900);
    assert.equal(rig.desk.inFlight, 1);
    advance(rig, 200);
    assert.equal(rig.desk.inFlight, 0);
    assert.equal(rig.counters.timeouts, 1);
    assert.equal(rig.log.at(-1)?.reason, 'the server did not answer in time');
  });
});

describe('a flow', () => {
  it('ends when it is idle', () => {
    const rig = udpRig();
    ask(rig, query('www.x.io', 1));
    serve(rig, []);
    advance(rig, 40);
    assert.equal(rig.sockets.open.size, 1);
    advance(rig, 200);
    assert.equal(rig.sockets.open.size, 0);
    assert.equal(rig.proxy.flows, 0);
  });

  it('that is idle makes room for another, one that waits does not', () => {
    const rig = udpRig({ limits: { udpFlows: 2 } });
    for (const port of [1, 2]) ask(rig, query('www.x.io', 1), flow(port));
    ask(rig, query('www.x.io', 1), flow(3));
    assert.equal(rig.sockets.open.size, 2);
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).rcode, 'SERVFAIL');
    serve(rig, []);
    const [first, second] = rig.sockets.sent;
    rig.sockets.handlers.onAnswer(first?.tag ?? 0, answerTo(first?.bytes ?? Buffer.alloc(0), []));
    ask(rig, query('www.x.io', 1), flow(3));
    assert.deepEqual([...rig.sockets.open.values()].map(({ clientPort }) => clientPort).includes(3), true);
    assert.equal(rig.sockets.open.size, 2);
    assert.ok(second);
  });

  it('of IPv6 is answered through the socket of IPv6', () => {
    const rig = udpRig({ table: tableOf([]) });
    ask(rig, query('www.x.io'), flow(1, '2001:db8::7', '2001:db8::53'));
    assert.equal(rig.sockets.replies[0]?.flow.family, 6);
  });
});

describe('an answer', () => {
  it('waits until the agent has put its addresses in force, and goes on unchanged', () => {
    const rig = udpRig();
    const asked = query('wWw.x.iO', 5);
    ask(rig, asked);
    rig.state.nowNs = 2_000_000;
    const answer = answerTo(asked, [cname('wWw.x.iO', 'e.cdn.net', 30), a('e.cdn.net', '192.0.2.1', 90)]);
    const original = Buffer.from(answer);
    rig.sockets.handlers.onAnswer(rig.sockets.sent[0]?.tag ?? 0, answer);
    answer.fill(0xff);
    assert.deepEqual(rig.sockets.replies, []);
    assert.deepEqual(rig.toAgent, [
      {
        type: 'dns-observed',
        id: 1,
        observation: {
          endpoint: 7,
          identity: 300,
          names: ['www.x.io', 'e.cdn.net'],
          addresses: ['192.0.2.1'],
          ttlSeconds: 30,
        },
      },
    ]);
    rig.observations.applied(2);
    assert.deepEqual(rig.sockets.replies, []);
    rig.observations.applied(1);
    assert.deepEqual(
      rig.sockets.replies.map(({ bytes }) => Buffer.from(bytes)),
      [original],
    );
    rig.observations.applied(1);
    assert.equal(rig.sockets.replies.length, 1);
    const record = rig.log.at(-1);
    assert.deepEqual(
      { type: record?.type, verdict: record?.verdict, latencyNs: record?.latencyNs, l7: record?.l7 },
      {
        type: 'response',
        verdict: 'forwarded',
        latencyNs: 2_000_000,
        l7: {
          kind: 'dns',
          query: 'www.x.io',
          queryTypes: ['A'],
          rcode: 0,
          addresses: ['192.0.2.1'],
          cnames: ['e.cdn.net'],
          ttlSeconds: 30,
        },
      },
    );
  });

  it('without addresses goes on at once', () => {
    const rig = udpRig();
    ask(rig, query('www.x.io'));
    serve(rig, [], { flags: 3 });
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).rcode, 'NXDOMAIN');
    assert.deepEqual(rig.toAgent, []);
  });

  it('goes on all the same when the agent takes too long, is away or goes away, and is counted', () => {
    const rig = udpRig({ limits: { applyTimeoutMs: 2000 } });
    ask(rig, query('www.x.io', 1));
    serve(rig, [a('www.x.io', '192.0.2.1')]);
    advance(rig, 1999);
    assert.equal(rig.sockets.replies.length, 0);
    advance(rig, 1);
    assert.equal(rig.sockets.replies.length, 1);
    ask(rig, query('www.x.io', 2));
    serve(rig, [a('www.x.io', '192.0.2.1')]);
    rig.observations.agentGone();
    assert.equal(rig.sockets.replies.length, 2);
    rig.state.agent = false;
    ask(rig, query('www.x.io', 3));
    serve(rig, [a('www.x.io', '192.0.2.1')]);
    assert.equal(rig.sockets.replies.length, 3);
    assert.equal(rig.counters.unapplied, 3);
    assert.equal(rig.desk.inFlight, 0);
  });

  it('that is forged does not reach the client, and the true one after it does', () => {
    const rig = udpRig();
    const asked = query('wWw.x.io', 0x1234);
    ask(rig, asked);
    const tag = rig.sockets.sent[0]?.tag ?? 0;
    const forged = [a('www.x.io', '192.0.2.66')];
    const bodies: readonly Buffer[] = [
      answerTo(asked, forged, { id: 0x1235 }),
      answerTo(asked, forged, { questions: [{ type: 'A', name: 'bank.com' }] }),
      answerTo(asked, forged, { questions: [{ type: 'A', name: 'www.x.io' }] }),
      answerTo(asked, forged, { questions: [{ type: 'AAAA', name: 'wWw.x.io' }] }),
      answerTo(asked, forged, { questions: [] }),
      answerTo(asked, forged).subarray(0, -2),
      Buffer.alloc(3),
    ];
    for (const bytes of bodies) rig.sockets.handlers.onAnswer(tag, bytes);
    rig.sockets.handlers.onAnswer(tag + 1, answerTo(asked, forged));
    assert.deepEqual([rig.sockets.replies, rig.toAgent], [[], []]);
    const { foreignAnswers, wrongQuestions, malformedAnswers } = rig.counters;
    assert.deepEqual(
      { foreignAnswers, wrongQuestions, malformedAnswers },
      { foreignAnswers: 2, wrongQuestions: 4, malformedAnswers: 1 },
    );
    serve(rig, [a('wWw.x.io', '192.0.2.1')]);
    assert.equal(rig.toAgent.length, 1);
  });

  it('that is truncated goes on, for the client to ask by TCP', () => {
    const rig = udpRig();
    ask(rig, query('www.x.io'));
    serve(rig, [], { flags: 0x200 });
    assert.equal(decoded(rig.sockets.replies[0]?.bytes).flag_tc, true);
  });

  it('after the proxy was closed goes nowhere', () => {
    const rig = udpRig();
    ask(rig, query('www.x.io', 1));
    serve(rig, [a('www.x.io', '192.0.2.1')]);
    ask(rig, query('www.x.io', 2));
    rig.proxy.close();
    rig.proxy.close();
    rig.observations.agentGone();
    assert.deepEqual(rig.sockets.replies, []);
    assert.equal(rig.desk.inFlight, 0);
  });
});
