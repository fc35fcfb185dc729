import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { L7Filter } from '../../src/model/l7.ts';
import { HttpJudge } from '../../src/proxy/http/judge.ts';
import { HttpRuleSet } from '../../src/proxy/http/rule-set.ts';
import { PolicyHolder, TrackedFlow } from '../../src/proxy/policy-holder.ts';
import { PolicyTable } from '../../src/proxy/policy-table.ts';
import { httpFilter, httpRule, Rig } from './rig.ts';

const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;
const ENDPOINTS = [
  { endpoint: 1, identity: 100, addresses: ['10.0.0.1', 'fd00::1'] },
  { endpoint: 2, identity: 200, addresses: ['10.0.0.2'] },
];

function tableOf(
  subjects: readonly { subject: number; ingress?: L7Filter[]; egress?: L7Filter[] }[],
): PolicyTable {
  return new PolicyTable(
    {
      revision: 1,
      subjects: subjects.map(({ subject, ingress, egress }) => ({ subject, ingress, egress })),
    },
    ENDPOINTS,
  );
}

/** Names of the filters of each direction that judge a flow. */
function judged(table: PolicyTable, client: string, server: string, port = 80): string[] | undefined {
  const flow = table.flow(
    { address: client, port: 4000 },
    { address: server, port },
    { client: 300, server: 301 },
  );
  return table
    .views(flow, 6)
    ?.map(({ direction, filters }) => `${direction}:${filters.map(({ ruleName }) => ruleName).join('+')}`);
}

const filter = (ruleName: string, parts: Partial<L7Filter> = {}): L7Filter =>
  httpFilter([], { ruleName, ...parts });

describe('the L7 policy of a node', () => {
  it('judges a flow by the egress policy of its client and the ingress policy of its server', () => {
    const table = tableOf([
      { subject: 100, egress: [filter('out')], ingress: [filter('never')] },
      { subject: 200, ingress: [filter('in')] },
    ]);
    assert.deepEqual(judged(table, '10.0.0.1', '10.0.0.2'), ['egress:out', 'ingress:in']);
    assert.deepEqual(judged(table, '10.0.0.1', '10.9.9.9'), ['egress:out']);
    assert.deepEqual(judged(table, 'fd00::1', '2001:db8::1'), ['egress:out']);
    assert.deepEqual(judged(table, '10.9.9.9', '10.0.0.2'), ['ingress:in']);
  });

  it('leaves out filters of endpoints that name their ports otherwise, for one that nobody told of all such', () => {
    const ingress = [
      filter('all'),
      filter('8080', { portNames: ['web/6/8080'] }),
      filter('9090', { portNames: ['web/6/9090', ''] }),
    ];
    const policy = { revision: 1, subjects: [{ subject: 200, ingress, egress: undefined }] };
    const endpoints = ['web/6/8080', 'web/6/9090', '', undefined].map((portNames, i) => ({
      ...{ endpoint: i + 1, identity: 200, addresses: [`10.0.0.${i + 1}`] },
      ...(portNames !== undefined && { portNames }),
    }));
    const table = new PolicyTable(policy, endpoints);
    const shown = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'].map((address) =>
      judged(table, '10.9.9.9', address),
    );
    assert.deepEqual(shown, [
      ['ingress:all+8080'],
      ['ingress:all+9090'],
      ['ingress:all+9090'],
      ['ingress:all'],
    ]);
  });

  it('judges no flow between others', () => {
    assert.equal(
      judged(tableOf([{ subject: 300, egress: [filter('x')] }]), '10.9.9.8', '10.9.9.9'),
      undefined,
    );
  });

  it('leaves out filters of other peers, ports and protocols', () => {
    const table = tableOf([
      {
        subject: 200,
        ingress: [
          filter('all'),
          filter('any-protocol', { protocol: 0 }),
          filter('udp', { protocol: 17 }),
          filter('port', { firstPort: 80, lastPort: 80 }),
          filter('other-port', { firstPort: 81, lastPort: 90 }),
          filter('peer', { peers: [100] }),
          filter('other-peer', { peers: [300, 301] }),
          filter('no-peer', { peers: [] }),
        ],
      },
    ]);
    assert.deepEqual(judged(table, '10.0.0.1', '10.0.0.2'), ['ingress:all+any-protocol+port+peer']);
    assert.deepEqual(judged(table, '10.9.9.9', '10.0.0.2', 85), [
      'ingress:all+any-protocol+other-port+other-peer',
    ]);
  });
});

describe('rules of HTTP that a later policy has too', () => {
  const compiled = (judge: HttpJudge, parts: Partial<L7Filter>, paths: readonly string[]): unknown => {
    const rules = paths.map((path) => httpRule({ path }));
    const table = tableOf([{ subject: 200, ingress: [httpFilter(rules, parts)] }]);
    const ends = [
      { address: '10.9.9.9', port: 4000 },
      { address: '10.0.0.2', port: 80 },
    ] as const;
    return judge.prepare(table, table.flow(...ends, { client: 300, server: 200 }))?.[0]?.rules;
  };

  it('are compiled once, whichever peers and ports come and go, and anew when they change', () => {
    const judge = new HttpJudge(() => undefined);
    const first = compiled(judge, { peers: [300] }, ['/a[0-9]']);
    assert.ok(first instanceof HttpRuleSet);
    assert.equal(compiled(judge, { peers: [300, 301] }, ['/a[0-9]']), first);
    assert.equal(compiled(judge, { peers: undefined, firstPort: 80, lastPort: 80 }, ['/a[0-9]']), first);
    assert.notEqual(compiled(judge, { peers: [300] }, ['/b[0-9]']), first);
    assert.notEqual(compiled(judge, { peers: [300], ruleName: 'other' }, ['/a[0-9]']), first);
    assert.equal(compiled(judge, { peers: [300] }, ['/a[0-9]']), first);
  });

  it('are forgotten when nobody asked for them for long, and what is in use is not', () => {
    const judge = new HttpJudge(() => undefined);
    const [kept, forgotten] = ['/kept', '/forgotten'].map((path) => compiled(judge, {}, [path]));
    for (let i = 0; i < 100; i++) {
      compiled(judge, {}, [`/${i}`]);
      assert.equal(compiled(judge, {}, ['/kept']), kept);
    }
    assert.notEqual(compiled(judge, {}, ['/forgotten']), forgotten);
  });
});

describe('the ends of a flow', () => {
  const client = { address: '10.9.9.9', port: 4000 };
  const server = { address: '10.0.0.2', port: 80 };
  const subjects = [200, 201].map((subject) => ({
    ...{ subject, egress: undefined },
    ingress: [filter('old', { peers: [300] }), filter('new', { peers: [301] })],
  }));
  const policy = { revision: 1, subjects };

  it('are asked for again once the datapath judges by others, and stay the same object while they are the same', () => {
    const holder = new PolicyHolder();
    holder.apply(policy, ENDPOINTS);
    let identities = { client: 300, server: 200 };
    let epoch = 1;
    let asked = 0;
    const flowOf = () => {
      const [now, since] = [identities, epoch];
      asked++;
      return { ...now, local: { client: false, server: true }, holds: () => epoch === since };
    };
    const tracked = new TrackedFlow({ holder, flowOf }, { client, server, protocol: 6 });
    const first = tracked.current();
    assert.equal(first?.client.identity, 300);
    assert.equal(tracked.current(), first);
    assert.equal(asked, 1);
    epoch++;
    assert.equal(tracked.current(), first, 'nothing about this flow changed');
    assert.equal(asked, 2);
    identities = { client: 301, server: 201 };
    assert.equal(tracked.current(), first);
    epoch++;
    const second = tracked.current();
    assert.deepEqual([second?.client.identity, second?.subjects.server], [301, 201]);
    const views = holder.table?.views(second ?? assert.fail(), 6);
    assert.deepEqual(
      views?.flatMap(({ filters }) => filters.map(({ ruleName }) => ruleName)),
      ['new'],
    );
  });

  it('are what the agent told with the policy where the datapath has yet to judge the flow anew', () => {
    const table = new PolicyTable(policy, ENDPOINTS);
    const local = { client: false, server: true };
    const stale = table.flow(client, server, { client: 300, server: 199, local, holds: () => false });
    assert.equal(stale.subjects.server, 200);
    const exact = table.flow(client, server, { client: 300, server: 201, local, holds: () => true });
    assert.equal(exact.subjects.server, 201);
  });

  it('are judged where the datapath knows an endpoint of this node that the agent has not told of', () => {
    const unknown = { address: '10.0.0.77', port: 80 };
    const table = new PolicyTable(policy, ENDPOINTS);
    const local = { client: false, server: true };
    for (const holds of [true, false]) {
      const flow = table.flow(client, unknown, { client: 300, server: 200, local, holds: () => holds });
      assert.equal(table.views(flow, 6)?.length, 1);
    }
  });
});

/** Both ends, by the addresses of the rigs of this process. */
const RIG_ENDPOINTS = [
  { endpoint: 1, identity: 100, addresses: ['127.0.0.1'] },
  ...Array.from({ length: 9 }, (_, i) => ({
    endpoint: i + 2,
    identity: 200,
    addresses: [Rig.addressAt(i + 1)],
  })),
];

describe('a request that both ends have a policy for', () => {
  it('is judged for the server as the rules for its client leave it, as if both were on nodes of their own', async () => {
    const out = [
      { name: 'X-Team', value: 'a', mismatch: 'REPLACE' as const },
      { name: 'X-Gone', value: 'a', mismatch: 'DELETE' as const },
      { name: 'X-More', value: '1', mismatch: 'ADD' as const },
    ];
    const inward = [
      { name: 'X-Team', value: 'a', mismatch: undefined },
      { name: 'X-More', value: '2', mismatch: 'REPLACE' as const },
    ];
    await using rig = await new Rig({ endpoints: RIG_ENDPOINTS }).start({
      revision: 1,
      subjects: [
        { subject: 100, ingress: undefined, egress: [httpFilter([httpRule({ headerMatches: out })])] },
        { subject: 200, egress: undefined, ingress: [httpFilter([httpRule({ headerMatches: inward })])] },
      ],
    });
    const client = await rig.client();
    client.send('GET /a HTTP/1.1\r\nHost: h\r\nX-Team: b\r\nX-Gone: b\r\n\r\n');
    assert.deepEqual(await client.answers(1), [200]);
    assert.equal(rig.server.text, 'GET /a HTTP/1.1\r\nHost: h\r\nX-Team: a\r\nX-More: 2\r\n\r\n');
    client.destroy();
  });

  it('is denied for the server when the rules for its client leave or write a field in disguise', async () => {
    const inward = [
      httpFilter([httpRule({ headerMatches: [{ name: 'X-Team', value: 'a', mismatch: 'REPLACE' }] })]),
    ];
    for (const [fields, out, status] of [
      ['X_Team: b\r\n', { name: 'X_Team', value: 'a', mismatch: 'DELETE' as const }, 200],
      ['X_Team: b\r\n', { name: 'X_Team', value: 'a', mismatch: 'REPLACE' as const }, 403],
      ['X_Team: b\r\n', { name: 'X-More', value: '1', mismatch: 'ADD' as const }, 403],
      ['', { name: 'X_Team', value: 'a', mismatch: 'ADD' as const }, 403],
      ['', { name: 'X_More', value: 'a', mismatch: 'ADD' as const }, 200],
    ] as const) {
      await using rig = await new Rig({ endpoints: RIG_ENDPOINTS }).start({
        revision: 1,
        subjects: [
          { subject: 100, ingress: undefined, egress: [httpFilter([httpRule({ headerMatches: [out] })])] },
          { subject: 200, egress: undefined, ingress: inward },
        ],
      });
      const client = await rig.client();
      client.send(`GET /a HTTP/1.1\r\nHost: h\r\n${fields}\r\n`);
      assert.deepEqual(await client.answers(1), [status], `${fields} ${out.mismatch} ${out.name}`);
      client.destroy();
    }
  });

  it('passes only if both allow it', async () => {
    await using both = await new Rig({ endpoints: RIG_ENDPOINTS }).start();
    await both.apply({
      revision: 1,
      subjects: [
        {
          subject: 100,
          ingress: undefined,
          egress: [httpFilter([httpRule({ path: '/(a|b)' })], { ruleName: 'out' })],
        },
        {
          subject: 200,
          egress: undefined,
          ingress: [httpFilter([httpRule({ path: '/(b|c)' })], { ruleName: 'in' })],
        },
      ],
    });
    const client = await both.client();
    client.send(get('/a') + get('/b') + get('/c'));
    assert.deepEqual(await client.answers(3), [403, 200, 403]);
    const requests = both.records.filter(({ type }) => type === 'request');
    assert.deepEqual(
      requests.map(({ direction, rules }) => ({ direction, rules })),
      [
        { direction: 'ingress', rules: [] },
        { direction: 'ingress', rules: ['out', 'in'] },
        { direction: 'egress', rules: [] },
      ],
    );
    client.destroy();
  });

  it('is denied when the kernel does not know its flow', async () => {
    await using rig = await new Rig({ identities: () => undefined }).start({ revision: 1, subjects: [] });
    const client = await rig.client();
    client.send(get('/a'));
    assert.deepEqual(await client.answers(1), [403]);
    client.destroy();
  });
});

describe('a rule with header matches', () => {
  it('changes the head that the server gets, and nothing else', async () => {
    const headerMatches = [
      { name: 'X-Add', value: '1', mismatch: 'ADD' as const },
      { name: 'X-Gone', value: 'keep', mismatch: 'DELETE' as const },
      { name: 'X-New', value: 'new', mismatch: 'REPLACE' as const },
      { name: 'X-Seen', value: 'y', mismatch: 'LOG' as const },
    ];
    await using rig = await new Rig().start({
      revision: 1,
      subjects: [{ subject: 200, egress: undefined, ingress: [httpFilter([httpRule({ headerMatches })])] }],
    });
    rig.server.answer = (socket, text) => {
      if (text.endsWith('body')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    };
    const client = await rig.client();
    const fields = 'X-Gone: other\r\nx-new: old\r\nX-new: older\r\nOther: o\r\nContent-Length: 4\r\n';
    client.send(`POST /a HTTP/1.1\r\nHost: h\r\n${fields}\r\nbody`);
    await client.answers(1);
    assert.equal(
      rig.server.text,
      'POST /a HTTP/1.1\r\nHost: h\r\nOther: o\r\nContent-Length: 4\r\nX-Add: 1\r\nX-New: new\r\n\r\nbody',
    );
    assert.match(rig.records[0]?.reason ?? '', /X-Seen/);
    client.destroy();
  });
});
