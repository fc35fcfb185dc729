import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { BAD_CHUNKS, HONEST, post, role, SMUGGLED, TABLE } from './hostile-table.ts';
import { CLIENT, httpFilter, httpRule, ingressPolicy, type RawClient, Rig, SERVER, until } from './rig.ts';

/** Everything below /v1/ may be asked for, by these methods, and what is below /role/ by users. */
const POLICY = ingressPolicy([
  httpFilter([
    httpRule({ method: 'GET|POST|OPTIONS|HEAD', path: '/v1/.*' }),
    httpRule({ path: '/role/.*', headers: ['X-Role: user'] }),
  ]),
]);

/** An honest request on a connection of its own is answered, and reaches the server as it is. */
async function askHonestly(rig: Rig): Promise<void> {
  const client = await rig.client();
  client.send(HONEST);
  assert.deepEqual(await client.answers(1), [200]);
  client.destroy();
  assert.equal(rig.server.connections.at(-1)?.text, HONEST);
}

describe('a hostile request', () => {
  let rig: Rig;
  before(async () => {
    rig = await new Rig({ http: { lingerMs: 100 } }).start(POLICY);
  });
  after(() => rig.stop());

  /**
   * Ends a hostile connection and asks an honest request on a new one. Whatever the proxy still had to pass on of the
   * hostile one is at the server by then.
   * @returns what came to the server before the honest request
   */
  const endThenAskHonestly = async (hostile: RawClient): Promise<string> => {
    if (hostile.socket.writable) hostile.send(SMUGGLED);
    hostile.socket.end();
    await hostile.end();
    await until('closed by the proxy', () => hostile.closed);
    rig.server.answer = answering;
    const before = rig.server.connections.length;
    await askHonestly(rig);
    assert.equal(rig.server.connections.length, before + 1);
    return rig.server.connections
      .slice(0, before)
      .map(({ text }) => text)
      .join('');
  };

  for (const { what, bytes, status, reaches = '' } of TABLE) {
    it(`${what}: does not reach the server, also not later`, async () => {
      rig.server.forget();
      const client = await rig.client();
      client.send(bytes);
      const wanted = reaches === '' ? 1 : 2;
      assert.equal((await client.answers(wanted)).at(-1), status, client.text);
      assert.equal(await endThenAskHonestly(client), reaches);
      if (reaches === '') assert.equal(rig.server.connections.length, 1, 'nobody was dialed for it');
    });
  }

  for (const [what, chunks] of BAD_CHUNKS) {
    it(`${what}: never reaches the server whole`, async () => {
      rig.server.forget();
      const client = await rig.client();
      rig.server.answer = () => undefined;
      const head = 'POST /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n';
      client.send(`${head}3\r\nabc\r\n${chunks}${SMUGGLED}`);
      await client.end();
      const got = await endThenAskHonestly(client);
      assert.ok(`${head}3\r\nabc\r\n${chunks}`.startsWith(got), got);
      assert.ok(!got.includes('\r\n\r\nGET'));
      assert.ok(!got.endsWith('0\r\n\r\n'));
      await until('the server is told', () =>
        rig.server.connections.slice(0, -1).every(({ closed }) => closed),
      );
    });
  }

  for (const name of ['X-Role', 'x-role', 'X_Role']) {
    it(`${name} in a trailer, where a rule is about X-Role: never reaches the server whole`, async () => {
      rig.server.forget();
      rig.server.answer = () => undefined;
      const client = await rig.client();
      const head = 'POST /role/a HTTP/1.1\r\nHost: h\r\nX-Role: user\r\nTransfer-Encoding: chunked\r\n\r\n';
      client.send(`${head}3\r\nabc\r\n`);
      await until('the body', () => rig.server.text.endsWith('abc\r\n'));
      client.send(`0\r\n${name}: admin\r\n\r\n${SMUGGLED}`);
      assert.deepEqual(await client.answers(1), [400]);
      assert.equal(await endThenAskHonestly(client), `${head}3\r\nabc\r\n`);
    });
  }

  it('a trailer that no rule is about passes', async () => {
    await using rig = await new Rig().start(POLICY);
    const client = await rig.client();
    const text = post('X-Role: user\r\nTransfer-Encoding: chunked', '0\r\nX-Role: admin\r\n\r\n');
    client.send(text);
    assert.equal((await client.answers(1))[0], 200);
    await until('the trailer', () => rig.server.text === text);
    client.destroy();
  });

  it('a field that no rule is about passes, whatever its name is like', async () => {
    await using rig = await new Rig().start(POLICY);
    const client = await rig.client();
    const text = role('X-Role: user\r\nX_Team: a\r\nX-Team: b');
    client.send(text);
    assert.deepEqual(await client.answers(1), [200]);
    assert.equal(rig.server.text, text);
    client.destroy();
  });

  it('a field in disguise: the record says which it is', async () => {
    await using rig = await new Rig().start(POLICY);
    const client = await rig.client();
    client.send(role('X-Role: user\r\nX_Role: admin'));
    assert.deepEqual(await client.answers(1), [403]);
    assert.equal(rig.records[0]?.reason, 'x_role is X-Role to some servers');
    client.destroy();
  });

  it('a first request that cannot be read: the record says whose it was', async () => {
    await using rig = await new Rig().start(POLICY);
    const client = await rig.client();
    client.send('GET /v1/../a HTTP/1.1\r\nHost: h\r\n\r\n');
    assert.deepEqual(await client.answers(1), [400]);
    client.destroy();
    const { source, destination } = rig.records[0] ?? {};
    assert.deepEqual([source?.identity, destination?.identity], [CLIENT, SERVER]);
  });

  it('a head that comes byte by byte and never ends: is ended in time', async () => {
    await using slow = await new Rig({ http: { headTimeoutMs: 50, lingerMs: 50 } }).start(POLICY);
    const client = await slow.client();
    client.send('GET /v1/a HTTP/1.1\r\nHost: h\r\n');
    const drip = setInterval(() => client.socket.writable && client.send('X'), 20);
    try {
      assert.deepEqual(await client.answers(1), [408]);
      await client.end();
    } finally {
      clearInterval(drip);
      client.destroy();
    }
    assert.equal(slow.server.connections.length, 0);
    await askHonestly(slow);
  });

  it('an endless body of a denied request: is read up to a bound', async () => {
    await using bounded = await new Rig({ http: { deniedBodyBytes: 10_000, lingerMs: 50 } }).start(POLICY);
    const client = await bounded.client();
    client.send('POST /admin HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n');
    const flood = setInterval(
      () => client.socket.writable && client.send(`400\r\n${'x'.repeat(1024)}\r\n`),
      1,
    );
    try {
      await until('closed', () => client.closed || client.ended);
    } finally {
      clearInterval(flood);
      client.destroy();
    }
    assert.deepEqual(client.statuses, [403]);
    assert.equal(bounded.server.connections.length, 0);
    await askHonestly(bounded);
  });

  it('is one of at least 60', () => {
    assert.ok(TABLE.length + BAD_CHUNKS.length >= 100, `${TABLE.length + BAD_CHUNKS.length}`);
  });

  let answering: Rig['server']['answer'];
  before(() => {
    answering = rig.server.answer;
  });
});
