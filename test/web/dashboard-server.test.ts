import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { MatrixPacker } from '../../src/health/dashboard/matrix-packer.ts';
import { systemClock } from '../../src/health/index.ts';
import { matrixView } from '../../src/health/mesh/matrix.ts';
import { NodeDirectory } from '../../src/health/mesh/node-directory.ts';
import { RowStore } from '../../src/health/mesh/row-store.ts';
import { CellCodes, cellCode, decodeMessage, encodeMessage, newCells } from '../../src/model/packed-rows.ts';
import { eventually } from '../support/process.ts';
import { BAD, DashboardRig, GOOD, nodeNames } from './dashboard-rig.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

function call(
  port: number,
  path: string,
  options: { readonly method?: string; readonly host?: string } = {},
): Promise<Answer> {
  const { method = 'GET', host = `127.0.0.1:${port}` } = options;
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', path, method, headers: { host } }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(parts) });
      });
    });
    asked.on('error', reject).end();
  });
}

describe('the server of the dashboard', () => {
  const rig = new DashboardRig(nodeNames(3), (from, to) => (from === 1 && to === 2 ? BAD : GOOD));
  before(() => rig.start());
  after(() => rig.stop());

  it('answers by an address, localhost or a name that it was told, and by no other', async () => {
    for (const host of ['127.0.0.1', '[::1]:80', 'localhost:1234', 'N1.example', `127.0.0.1:${rig.port}`]) {
      assert.equal((await call(rig.port, '/', { host })).status, 200, host);
    }
    for (const host of [
      'evil.example',
      'n1.example.evil.example',
      '127.0.0.1.evil.example',
      'localhost@evil',
    ]) {
      for (const path of ['/', '/v1beta/matrix/packed', '/metrics', '/v1beta/paths']) {
        assert.equal((await call(rig.port, path, { host })).status, 421, `${host} ${path}`);
      }
    }
  });

  it('only reads', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of ['/', '/v1beta/probe', '/v1beta/status/probe', '/v1beta/events']) {
        const { status, headers } = await call(rig.port, path, { method });
        assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], `${method} ${path}`);
      }
    }
  });

  it('lets nobody frame the page or guess types, and caches only what has its content in its name', async () => {
    const page = await call(rig.port, '/');
    const policy = String(page.headers['content-security-policy']);
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(page.headers['cache-control'], 'no-cache');
    const asset = /assets\/app-[0-9a-f]{16}\.js/.exec(page.body.toString())?.[0] ?? '';
    const script = await call(rig.port, `/${asset}`);
    assert.equal(script.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(script.headers['content-type'], 'text/javascript; charset=utf-8');
    const others = [
      await call(rig.port, '/assets/..%2findex.html'),
      await call(rig.port, '/v1beta/diagnosis'),
    ];
    assert.equal(others[0]?.status, 404);
    for (const answer of [page, script, ...others]) {
      assert.equal(answer.headers['x-content-type-options'], 'nosniff');
      assert.equal(answer.headers['x-frame-options'], 'DENY');
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
    }
  });

  it('tells the matrix in packed rows', async () => {
    const { body } = await call(rig.port, '/v1beta/matrix/packed');
    const { header, rows } = decodeMessage(new Uint8Array(body).buffer, 0);
    assert.deepEqual(header.cluster?.nodes, [{ name: 'n1' }, { name: 'n2' }, { name: 'n3' }]);
    const codes = rows.map(({ code }) => [...code]);
    const { none, reachable, unreachable } = CellCodes;
    assert.deepEqual(codes, [
      [none, reachable, reachable],
      [reachable, none, unreachable],
      [reachable, reachable, none],
    ]);
    assert.deepEqual([rows[1]?.sent[2], rows[1]?.lost[2], rows[0]?.rttNs[1]], [120, 120, 120_000]);
  });
});

describe('the followers of the events', () => {
  it('are so many at most, and one that goes makes room for another', async () => {
    const rig = new DashboardRig(nodeNames(2));
    await rig.start();
    const ends: AbortController[] = [];
    const follow = async (): Promise<number> => {
      const end = new AbortController();
      ends.push(end);
      return (await fetch(`${rig.url}v1beta/events`, { signal: end.signal })).status;
    };
    try {
      for (let i = 0; i < 32; i++) assert.equal(await follow(), 200);
      assert.equal(await follow(), 503);
      ends[0]?.abort();
      await eventually('room for another', async () => ((await follow()) === 200 ? true : undefined));
    } finally {
      for (const end of ends) end.abort();
      await rig.stop();
    }
  });
});

describe('who asks for the head of the events alone', () => {
  it('follows nothing, however often it asks', async () => {
    const rig = new DashboardRig(nodeNames(2));
    await rig.start();
    const end = new AbortController();
    try {
      for (let i = 0; i < 40; i++) {
        const head = await fetch(`${rig.url}v1beta/events`, { method: 'HEAD' });
        assert.deepEqual([head.status, head.headers.get('content-type')], [200, 'text/event-stream']);
      }
      assert.equal((await fetch(`${rig.url}v1beta/events`, { signal: end.signal })).status, 200);
    } finally {
      end.abort();
      await rig.stop();
    }
  });
});

describe('a follower of the events that does not read', () => {
  it('is cut off and counted, leaves nothing in memory, and holds up nobody else', async () => {
    const count = 200;
    const rig = new DashboardRig(nodeNames(count));
    rig.backlogBytes = 1024 * 1024;
    await rig.start();
    const end = new AbortController();
    const lazy = connect(rig.port, '127.0.0.1');
    try {
      lazy.write('GET /v1beta/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
      // It takes the beginning of the answer, and never anything again.
      await once(lazy, 'readable');
      lazy.on('error', () => undefined);
      const answer = await fetch(`${rig.url}v1beta/events`, { signal: end.signal });
      const reader = (answer.body ?? assert.fail('no stream')).getReader();
      let read = 0;
      const reading = (async () => {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return 'ended';
          read += value.length;
        }
      })().catch(() => 'aborted');
      let bad = false;
      await eventually(
        'it is cut off',
        () => {
          bad = !bad;
          for (let i = 0; i < count; i++)
            for (let j = 0; j < count; j++) if (i !== j) rig.set(i, j, bad ? BAD : GOOD);
          return rig.followersCut > 0 || undefined;
        },
        { timeoutMs: 60_000, everyMs: 500 },
      );
      assert.equal(rig.followersCut, 1);
      const before = read;
      await eventually('the other one goes on', () => read > before || undefined);
      lazy.resume();
      await once(lazy, 'close');
      assert.ok(lazy.bytesRead < read, `${lazy.bytesRead} bytes of ${read}`);
      end.abort();
      assert.equal(await reading, 'aborted');
    } finally {
      end.abort();
      lazy.destroy();
      await rig.stop();
    }
  });
});

describe('the packer of a cluster that is too large to show', () => {
  it('shows the nodes with the most faults and our own, and says how many there are', () => {
    const rig = new DashboardRig(nodeNames(50), (from, to) => (from === 40 && to > 44 ? BAD : GOOD));
    const packer = new MatrixPacker({ matrix: () => rig.matrix(), clock: systemClock, nodesMax: 7 });
    const { header, rows } = decodeMessage(packer.snapshot().buffer, 0);
    const names = header.cluster?.nodes.map(({ name }) => name) ?? [];
    assert.deepEqual([...names].sort(), ['n1', 'n41', 'n46', 'n47', 'n48', 'n49', 'n50']);
    assert.equal(header.cluster?.total, 50);
    const row = rows[names.indexOf('n41')];
    assert.equal(row?.code[names.indexOf('n50')], CellCodes.unreachable);
    assert.equal(row?.code[names.indexOf('n1')], CellCodes.reachable);
    assert.equal(packer.news(), undefined, 'nothing has changed since');
    rig.set(0, 49, BAD);
    const news = packer.news();
    assert.equal(news?.kind, 'rows');
    const told = decodeMessage(news.kind === 'rows' ? news.message.buffer : new ArrayBuffer(4), 7);
    assert.deepEqual([...(told.rows[0]?.peers ?? [])], [names.indexOf('n50')], 'one cell has changed');
  });
});

describe('the packer of the rows that nodes tell each other', () => {
  it('says that the nodes are others when one joins or has another zone, not when the same list comes again', () => {
    const directory = new NodeDirectory();
    const store = new RowStore(directory);
    const list = (zone: string, ...names: string[]): void =>
      directory.update(names.map((name) => ({ name, zone, addresses: [] })));
    list('a', 'n1', 'n2');
    const packer = new MatrixPacker({
      matrix: () => matrixView({ directory, store, self: 'n1', nowMs: () => 0 }),
      clock: systemClock,
    });
    packer.snapshot();
    list('a', 'n1', 'n2');
    assert.equal(packer.news(), undefined);
    list('a', 'n1', 'n2', 'n3');
    assert.deepEqual(packer.news(), { kind: 'nodes' });
    assert.equal(packer.news(), undefined, 'it is told once');
    list('b', 'n1', 'n2', 'n3');
    assert.deepEqual(packer.news(), { kind: 'nodes' });
    const { cluster } = decodeMessage(packer.snapshot().buffer, 0).header;
    assert.deepEqual(cluster?.nodes[2], { name: 'n3', zone: 'b' });
  });
});

describe('packed rows', () => {
  it('come back as they were, whole or in part, at any number of nodes', () => {
    for (const nodes of [1, 2, 3, 4, 7, 500]) {
      const whole = newCells(nodes, false);
      whole.rttNs.fill(0xffff_ffff);
      whole.sent.fill(0xffff);
      whole.lost[nodes - 1] = 7;
      whole.code.fill(4);
      const part = newCells(1, true);
      part.peers?.set([nodes - 1]);
      part.code.set([3]);
      const header = {
        nodesId: 'é',
        atMs: 1,
        rows: [
          { node: 0, ageMs: 5 },
          { node: 1, count: 1 },
          { node: 2, count: 0 },
        ],
      };
      const rows = [whole, part, newCells(0, true)];
      const read = decodeMessage(encodeMessage({ header, rows }).buffer, nodes);
      assert.deepEqual(read, { header, rows });
    }
  });

  it('call a pair unreachable only when nothing of it works', () => {
    const cases: readonly [number, number, keyof typeof CellCodes][] = [
      [0, 0, 'unknown'],
      [0b01, 0, 'reachable'],
      [0b0101, 0b01 << 30, 'reachable'],
      [0b1001, 0, 'degraded'],
      [0b1101, 0, 'degraded'],
      [0b11, 0b01, 'degraded'],
      [0b1111, 0b11, 'unreachable'],
      [0, 0b11 << 30, 'unreachable'],
    ];
    for (const [states4, states6, code] of cases) {
      assert.equal(cellCode({ states4, states6 }), CellCodes[code], `${states4} ${states6}`);
    }
  });
});
