import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { Check } from 'typebox/value';
import * as Api from '../../src/api/schema.ts';
import type { Health } from '../../src/health/index.ts';
import type { HealthDiagnosis, HealthVerdict } from '../../src/model/health.ts';
import { type ApiBench, apiBench } from './api-bench.ts';
import { element, lost, refused, reply } from './fakes.ts';

const three = [
  element('n1', '10.0.0.1', '10.1.0.1'),
  element('n2', '10.0.0.2', '10.1.0.2'),
  element('n3', '10.0.0.3'),
];

/** HTTP is asked more seldom than ICMP: within this, each path three times. */
const HTTP_ROUND_MS = 20_000;

const started: Health[] = [];

async function running(...args: Parameters<typeof apiBench>): Promise<ApiBench> {
  const bench = apiBench(...args);
  started.push(bench.health);
  await bench.health.start();
  await bench.clock.pass(2500);
  return bench;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((health) => health.stop()));
});

const put = (body: unknown): RequestInit => ({
  method: 'PUT',
  headers: { 'content-type': 'application/json' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

const VERDICT: HealthVerdict = {
  fault: 'node-down',
  place: { kind: 'node', node: 'n3', direction: 'both' },
  kinds: [],
  families: [],
  lossPoint: undefined,
  sinceMs: Date.UTC(2026, 0, 1),
  confidence: 0.99,
  evidence: { observers: 2, sent: 20, lost: 20, against: 0 },
};

function judged(diagnosis: Partial<HealthDiagnosis>): (health: Health) => Health {
  const found = {
    state: 'broken',
    verdicts: [],
    silent: [],
    atMs: Date.UTC(2026, 0, 1),
    ...diagnosis,
  } as const;
  return (health) => Object.assign(health, { diagnosis: () => found });
}

describe('the health API beyond that of Cilium', () => {
  it('tells the paths to one peer in the form of the schema, without times of failures', async () => {
    const { clock, call, icmp } = await running(three);
    icmp.answer = (address) => (address === '10.0.0.2' ? lost : reply(20_000));
    await clock.pass(3000);
    const { status, body } = await call('/paths?peer=n2');
    assert.equal(status, 200);
    const paths = body as Api.HealthPathReport[];
    for (const path of paths) assert.ok(Check(Api.HealthPathReport, path), JSON.stringify(path));
    assert.deepEqual(paths.map(({ kind, address, state }) => [kind, address, state]).sort(), [
      ['host-endpoint/http', '10.1.0.2', 'reachable'],
      ['host-endpoint/icmp', '10.1.0.2', 'reachable'],
      ['host-host/http', '10.0.0.2', 'reachable'],
      ['host-host/icmp', '10.0.0.2', 'unreachable'],
    ]);
    const broken = paths.find(({ state }) => state === 'unreachable');
    assert.equal(broken?.reason, 'no reply');
    assert.ok((broken?.window.sent ?? 0) > (broken?.window.answered ?? 0));
    assert.equal(((await call('/paths')).body as unknown[]).length, 10, 'all paths without a peer');
  });

  it('names the node that was probably meant', async () => {
    const { call } = await running(three);
    for (const path of [
      '/paths?peer=n22',
      '/matrix?node=n22',
      '/mtu?peer=n22',
      '/ready?node=n22',
      '/pair?to=n22',
    ]) {
      const { status, body } = await call(path);
      assert.equal(status, 400, path);
      assert.match(String(body), /no node "n22" in the node list; did you mean n2\?/, path);
    }
  });

  it('packs the matrix, its own row at least, with two bits a kind', async () => {
    const { clock, call } = await running(three);
    // The own row looks at each peer every 5 s.
    await clock.pass(6000);
    const { body } = await call('/matrix');
    assert.ok(Check(Api.HealthMatrix, body), JSON.stringify(body));
    const matrix = body as Api.HealthMatrix;
    assert.equal(matrix.self, 'n1');
    assert.deepEqual(
      matrix.nodes.map(({ name, cells }) => [name, cells?.length]),
      [
        ['n1', 12],
        ['n2', undefined],
        ['n3', undefined],
      ],
    );
    const icmp = matrix.kinds.indexOf('host-host/icmp');
    const [peer, states4 = 0, states6, rttNs] = matrix.nodes[0]?.cells ?? [];
    assert.equal(peer, 1);
    assert.equal((states4 >>> (2 * icmp)) & 3, 1, 'reachable');
    assert.equal(states6, 0);
    assert.ok(rttNs !== undefined && rttNs > 0);
    const one = (await call('/matrix?node=n3')).body as Api.HealthMatrix;
    assert.deepEqual(
      one.nodes[0]?.cells?.filter((_, i) => i % 6 === 0),
      [2],
      'only the cell to that node',
    );
  });

  it('tells changes of state since a time, and refuses what is no time', async () => {
    const { clock, call, http } = await running(three);
    const since = new Date(clock.wallMs()).toISOString();
    http.answer = () => refused;
    await clock.pass(HTTP_ROUND_MS);
    const { body } = await call(`/history?since=${since}`);
    assert.ok(Check(Api.HealthHistory, body));
    const { changes } = body as Api.HealthHistory;
    assert.equal(changes?.length, 5);
    assert.ok(changes?.every(({ to, reason }) => to === 'unreachable' && reason === 'connection refused'));
    const all = ((await call('/history')).body as Api.HealthHistory).changes ?? [];
    assert.ok(all.length > 5, 'from the start on without a time');
    for (const wrong of ['yesterday', '', '5', '2026-99-99T00:00:00Z']) {
      assert.equal((await call(`/history?since=${wrong}`)).status, 400, wrong);
    }
  });

  it('lists the MTU of the paths that carry packets, known or not', async () => {
    const { call } = await running(three);
    const { body } = await call('/mtu?peer=n2');
    assert.ok(Check(Api.HealthMtu, body));
    assert.deepEqual(
      ((body as Api.HealthMtu).paths ?? []).map(({ kind, 'path-mtu': mtu }) => [kind, mtu]).sort(),
      [
        ['host-endpoint/icmp', undefined],
        ['host-host/icmp', undefined],
      ],
    );
  });

  it('judges by its own paths alone, where no other row is known, but does not call it healthy', async () => {
    const { call } = await running(three);
    const { status, body } = await call('/diagnosis');
    assert.equal(status, 200);
    assert.ok(Check(Api.HealthDiagnosis, body), JSON.stringify(body));
    const { state, verdicts, silent } = body as Api.HealthDiagnosis;
    assert.deepEqual([state, verdicts], ['unknown', []]);
    assert.deepEqual(silent, [{ node: 'n2' }, { node: 'n3' }]);
  });

  it('tells a diagnosis with its verdicts', async () => {
    const health = judged({ verdicts: [VERDICT], silent: [{ node: 'n3', ageMs: undefined }] });
    const { call } = await running(three, { health });
    const { status, body } = await call('/diagnosis');
    assert.equal(status, 200);
    assert.ok(Check(Api.HealthDiagnosis, body), JSON.stringify(body));
    const { verdicts, silent } = body as Api.HealthDiagnosis;
    assert.equal(verdicts?.[0]?.place.node, 'n3');
    assert.deepEqual(silent, [{ node: 'n3' }]);
  });

  it('answers all routes of Cilium as before', async () => {
    const { call } = await running(three);
    assert.equal((await call('/hello')).status, 200);
    assert.deepEqual(Object.keys((await call('/healthz')).body as object), [
      'cilium',
      'uptime',
      'system-load',
    ]);
    assert.ok(Check(Api.HealthStatusResponse, (await call('/status')).body));
    assert.equal((await call('/nothing')).status, 404);
    assert.equal((await call('/matrix', { method: 'POST' })).status, 405);
  });
});

describe('a readiness gate', () => {
  it('opens when all is known to work, and not before', async () => {
    const bench = apiBench(three);
    started.push(bench.health);
    await bench.health.start();
    const early = await bench.call('/ready');
    assert.equal(early.status, 503);
    assert.ok(Check(Api.HealthReadiness, early.body));
    assert.match(String((early.body as Api.HealthReadiness).reasons), /n1 has measured no other node yet/);
    await bench.clock.pass(2500);
    assert.deepEqual((await bench.call('/ready?node=n1')).status, 200);
  });

  it('stays shut for a node that was never heard of', async () => {
    const { call } = await running(three);
    const { status, body } = await call('/ready?node=n2');
    assert.equal(status, 503);
    assert.match(
      String((body as Api.HealthReadiness).reasons),
      /nothing was heard of the health agent of n2 yet/,
    );
  });

  it('blames the node that a verdict is about, and not those that do not reach it', async () => {
    const bench = await running(three, { health: judged({ verdicts: [VERDICT] }) });
    bench.icmp.answer = (address) => (address === '10.0.0.3' ? lost : reply(20_000));
    bench.http.answer = (address) => (address === '10.0.0.3' ? refused : reply(20_000));
    await bench.clock.pass(HTTP_ROUND_MS);
    assert.equal((await bench.call('/ready')).status, 200, 'n1 itself is well');
    const { status, body } = await bench.call('/ready?node=n3');
    assert.equal(status, 503);
    assert.match(String((body as Api.HealthReadiness).reasons), /Node n3 is down, .* \(99 % sure\)/);
  });

  it('stays open where only echoes are filtered, which may be so for good, and not where requests are', async () => {
    const place = { kind: 'node', node: 'n1', direction: 'both' } as const;
    for (const [fault, expected] of [
      ['icmp-filtered', 200],
      ['echo-filtered', 200],
      ['http-filtered', 503],
      ['loss', 503],
    ] as const) {
      const bench = await running(three, { health: judged({ verdicts: [{ ...VERDICT, fault, place }] }) });
      assert.equal((await bench.call('/ready')).status, expected, fault);
    }
  });

  it('shuts when the node does not reach a peer, and nobody can tell which of the two it is', async () => {
    const bench = await running(three);
    for (const probe of [bench.icmp, bench.http]) {
      probe.answer = (address) => (address === '10.0.0.3' ? lost : reply(20_000));
    }
    await bench.clock.pass(HTTP_ROUND_MS);
    const { status, body } = await bench.call('/ready');
    assert.equal(status, 503);
    assert.deepEqual((body as Api.HealthReadiness).reasons, [
      'Nothing at n3 answers n1: one of the two is down, or what lies between them. (50 % sure)',
    ]);
  });
});

describe('probes on demand', () => {
  async function probed(bench: ApiBench, body: unknown, passMs = 3000) {
    const answer = bench.call('/probe', put(body));
    await bench.clock.pass(passMs);
    return answer;
  }

  it('count what was asked, path by path', async () => {
    const bench = await running(three);
    bench.icmp.answer = (address) => (address === '10.0.0.2' ? lost : reply(50_000));
    const { status, body } = await probed(bench, { nodes: ['n2', 'n2'], count: 3 });
    assert.equal(status, 200);
    assert.ok(Check(Api.HealthProbeReport, body), JSON.stringify(body));
    const { complete, count, paths } = body as Api.HealthProbeReport;
    assert.deepEqual([complete, count, paths?.length], [true, 3, 4]);
    const host = paths?.find(({ kind }) => kind === 'host-host/icmp');
    assert.ok(host && host.sent >= 3 && host.answered === 0 && host.lost === host.sent, JSON.stringify(host));
    assert.equal(host['rtt-ns'], undefined, 'a loss has no time');
    assert.equal(host.reason, 'no reply');
    const endpoint = paths?.find(({ kind }) => kind === 'host-endpoint/icmp');
    assert.ok(endpoint && endpoint.answered >= 3 && endpoint.lost === 0);
    const p50 = endpoint['rtt-ns']?.p50 ?? 0;
    assert.ok(Math.abs(p50 - 50_000) < 50_000 * 0.2, `${p50} ns`);
  });

  it('answer in time with what there is, and say that it is not all', async () => {
    const bench = await running(three);
    bench.http.answer = () => new Promise(() => undefined);
    const { status, body } = await probed(bench, { nodes: ['n3'], count: 2, 'timeout-ms': 800 }, 2000);
    assert.equal(status, 200);
    const { complete, paths, 'took-ms': tookMs } = body as Api.HealthProbeReport;
    assert.equal(complete, false);
    assert.ok(tookMs >= 800 && tookMs < 1000);
    assert.ok((paths?.find(({ responder }) => responder === 'icmp')?.answered ?? 0) >= 2);
    assert.equal(paths?.find(({ responder }) => responder === 'http')?.answered, 0);
  });

  it('go to all other nodes when none is named, and tell those without a path', async () => {
    const bench = await running([...three, { name: 'n4' }]);
    const { body } = await probed(bench, { nodes: null, count: 1 });
    const report = body as Api.HealthProbeReport;
    assert.deepEqual([...new Set(report.paths?.map(({ peer }) => peer))].sort(), ['n2', 'n3']);
    assert.deepEqual(report['without-path'], ['n4']);
  });

  const WRONG: readonly (readonly [unknown, RegExp])[] = [
    ['{', /no JSON/],
    ['', /no JSON/],
    [[], /expected an object/],
    [{ nodes: 'n2' }, /nodes: expected a list of names/],
    [{ nodes: [7] }, /nodes: expected a list of names/],
    [{ nodes: ['n2', 'x9'] }, /nodes\[1\]: no node "x9"/],
    [{ count: 0 }, /count: 0 is not 1 to 1000/],
    [{ count: 1.5 }, /count: 1\.5 is not/],
    [{ count: 1001 }, /count: 1001 is not/],
    [{ 'timeout-ms': 60_001 }, /timeout-ms: 60001 is not/],
  ];
  for (const [body, text] of WRONG) {
    it(`refuse ${JSON.stringify(body)}`, async () => {
      const bench = await running(three);
      const answer = await bench.call('/probe', put(body));
      assert.equal(answer.status, 400);
      assert.match(String(answer.body), text);
    });
  }

  it('refuse more probes than are bearable, and more runs at once', async () => {
    const many = Array.from({ length: 60 }, (_, i) => element(`m${i}`, `10.2.0.${i + 1}`));
    const bench = await running([...three, ...many]);
    const answer = await bench.call('/probe', put({ count: 1000 }));
    assert.equal(answer.status, 400);
    assert.match(String(answer.body), /126 paths by 1000 probes are more than 100000/);
    const runs = Array.from({ length: 5 }, () => bench.call('/probe', put({ nodes: ['n2'], count: 1 })));
    await bench.clock.pass(3000);
    const statuses = (await Promise.all(runs)).map(({ status }) => status);
    assert.deepEqual(statuses.sort(), [200, 200, 200, 200, 429]);
    const again = await probed(bench, { nodes: ['n2'], count: 1 });
    assert.equal(again.status, 200, 'and take one again when they are over');
  });
});

describe('all paths from one node to another', () => {
  const path: Api.HealthPathReport = {
    peer: 'n3',
    kind: 'host-host/icmp',
    'path-class': 'host-host',
    responder: 'icmp',
    expects: 'answer',
    family: 4,
    address: '10.0.0.3',
    primary: true,
    state: 'reachable',
    since: '2026-01-01T00:00:00.000Z',
    window: { 'span-ms': 60_000, sent: 60, answered: 60, late: 0, duplicate: 0, reordered: 0 },
    'black-hole': false,
  };

  it('are our own when they begin here', async () => {
    const { call } = await running(three);
    const { body } = await call('/pair?from=n1&to=n2');
    assert.ok(Check(Api.HealthPair, body), JSON.stringify(body));
    const { source, paths, cell } = body as Api.HealthPair;
    assert.deepEqual([source, paths?.length, cell?.state], ['self', 4, 'reachable']);
  });

  it('are asked of the other node, at its addresses in turn', async () => {
    const asked: string[] = [];
    const { call } = await running(three, {
      askPeer: (address, peer) => {
        asked.push(`${address} ${peer}`);
        return Promise.resolve([path]);
      },
    });
    const { body } = await call('/pair?from=n2&to=n3');
    assert.deepEqual((body as Api.HealthPair).paths, [path]);
    assert.equal((body as Api.HealthPair).source, 'asked');
    assert.deepEqual(asked, ['10.0.0.2 n3']);
  });

  it('are not known when it does not answer, and that is said with the reason', async () => {
    const { call } = await running(three, { askPeer: () => Promise.reject(new Error('connection refused')) });
    const { status, body } = await call('/pair?from=n2&to=n3');
    assert.equal(status, 200);
    assert.deepEqual(body, { from: 'n2', to: 'n3', source: 'none', reason: 'connection refused', paths: [] });
  });
});
