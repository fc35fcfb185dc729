import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type ServerHttp2Stream } from 'node:http2';
import { describe, it } from 'node:test';
import {
  CLIENT,
  httpFilter,
  httpRule,
  ingressPolicy,
  type RawClient,
  Rig,
  type RigOptions,
  SERVER,
  until,
} from './rig.ts';

const policyFor = (path: string, revision: number): ReturnType<typeof ingressPolicy> =>
  ingressPolicy([httpFilter([httpRule({ path })])], revision);
const BEFORE = policyFor('/v[12]/.*', 1);
const AFTER = policyFor('/v2/.*', 2);
const upgrade = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n';

/** A rig whose server switches protocols, answers `ping` with `pong`, and to other requests sends half an answer. */
async function started(policy = BEFORE, options: RigOptions = {}): Promise<Rig> {
  const rig = await new Rig(options).start(policy);
  rig.server.answer = (socket, text) => {
    if (text.endsWith('websocket\r\n\r\n')) socket.write(SWITCHING);
    else if (text.endsWith('ping')) socket.write('pong');
    else if (text.startsWith('GET') && text.endsWith('\r\n\r\n'))
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
  };
  return rig;
}

async function upgraded(rig: Rig, path: string): Promise<RawClient> {
  const client = await rig.client();
  client.send(upgrade(path));
  assert.deepEqual(await client.answers(1), [101]);
  client.send('ping');
  await until('pong', () => client.text.endsWith('pong'));
  return client;
}

const lastRecord = (rig: Rig): unknown => {
  const record = rig.records.at(-1);
  return [record?.verdict, record?.l7.kind === 'http' && record.l7.path, record?.reason];
};

describe('what a policy allows no more', () => {
  it('of an upgrade ends with the next byte: nothing more reaches the server', async () => {
    await using rig = await started();
    const client = await upgraded(rig, '/v1/ws');
    await rig.apply(AFTER);
    client.send('secret ping');
    await until('a reset', () => client.closed);
    assert.equal(client.error, 'ECONNRESET');
    assert.ok(!rig.server.text.includes('secret'));
    await until('the server hears of it', () => rig.server.connections[0]?.closed === true);
    assert.deepEqual(lastRecord(rig), ['denied', '/v1/ws', 'no rule allows it']);
  });

  it('of an upgrade ends with what the server says, and without a byte soon', async () => {
    await using rig = await started();
    const [told, silent] = [await upgraded(rig, '/v1/ws'), await upgraded(rig, '/v1/ws')];
    await rig.apply(AFTER);
    rig.server.connections[0]?.socket.write('secret');
    await until('resets', () => told.closed && silent.closed, 30_000);
    assert.ok(!told.text.includes('secret'));
  });

  it('of a request whose body is on its way ends it: 403 for the client, a reset for the server', async () => {
    await using rig = await started();
    const client = await rig.client();
    client.send('POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf');
    await until('half of it', () => rig.server.text.endsWith('half'));
    await rig.apply(AFTER);
    client.send('secret');
    assert.deepEqual(await client.answers(1), [403]);
    await client.end();
    await until('the server hears of it', () => rig.server.connections[0]?.closed === true);
    assert.ok(!rig.server.text.includes('secret'));
    assert.deepEqual(lastRecord(rig), ['denied', '/v1/a', 'no rule allows it']);
    client.destroy();
  });

  it('of a request that was answered before its body is whole ends it too', async () => {
    await using rig = await started();
    rig.server.answer = (socket, text) => {
      if (text.endsWith('half')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    };
    const client = await rig.client();
    client.send('POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf');
    assert.deepEqual(await client.answers(1), [200]);
    await rig.apply(AFTER);
    client.send('secret');
    await until('a reset', () => client.closed);
    assert.ok(!rig.server.text.includes('secret'));
  });

  it('is nothing of a request whose answer was the last one, though its client still sends', async () => {
    await using rig = await started();
    const [client, other] = [await rig.client(), await upgraded(rig, '/v1/ws')];
    client.send('POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf');
    await until('half of it', () => rig.server.text.endsWith('half'));
    rig.server.connections[1]?.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast');
    await until('the end', () => client.text.endsWith('last') && client.ended);
    await rig.apply(AFTER);
    client.send('more');
    other.send('ping');
    await until('the other ends', () => other.closed);
    const denied = rig.records.filter(({ verdict }) => verdict === 'denied');
    assert.deepEqual(
      denied.map(({ l7 }) => l7.kind === 'http' && l7.path),
      ['/v1/ws'],
    );
    client.destroy();
  });

  it('of an answer that is on its way breaks off', async () => {
    await using rig = await started();
    const client = await rig.client();
    client.send('GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n');
    await until('half an answer', () => client.text.endsWith('half'));
    await rig.apply(AFTER);
    rig.server.connections[0]?.socket.write('secret');
    await until('a reset', () => client.closed);
    assert.ok(!client.text.includes('secret'));
  });

  it('is not known of an idle upgrade whose peer may have another identity by now, until a packet comes', async () => {
    let judged = { client: CLIENT, epoch: 0 };
    let now = 0;
    const identities = () => {
      const { client, epoch } = judged;
      return { client, server: SERVER, holds: () => epoch === now };
    };
    const policy = (peer: number, path: string, revision: number) =>
      ingressPolicy([httpFilter([httpRule({ path })], { peers: [peer] })], revision);
    await using rig = await started(policy(CLIENT, '/v[12]/.*', 1), { identities });
    const [kept, ended, revoked] = [
      await upgraded(rig, '/v2/a'),
      await upgraded(rig, '/v2/b'),
      await upgraded(rig, '/v1/c'),
    ];
    now = 1;
    await rig.apply(policy(CLIENT + 1, '/v2/.*', 2));
    await until('what nobody may', () => revoked.closed, 30_000);
    assert.deepEqual([kept.closed, ended.closed], [false, false]);
    judged = { client: CLIENT + 1, epoch: 1 };
    kept.send('ping');
    await until('pong', () => kept.text.endsWith('pongpong'));
    now = 2;
    judged = { client: CLIENT, epoch: 2 };
    ended.send('ping');
    await until('a packet of whom it is not allowed to', () => ended.closed);
    kept.destroy();
  });

  it('is told from what it still allows, which goes on', async () => {
    await using rig = await started();
    const [client, slow] = [await upgraded(rig, '/v2/ws'), await rig.client()];
    slow.send('GET /v2/a HTTP/1.1\r\nHost: h\r\n\r\n');
    await until('half an answer', () => slow.text.endsWith('half'));
    await rig.apply(AFTER);
    client.send('ping');
    rig.server.connections[1]?.socket.write('other ');
    await until('the rest', () => client.text.endsWith('pongpong') && slow.text.endsWith('halfother '));
    client.destroy();
    slow.destroy();
  });

  it('of a stream of HTTP/2 is answered 403, or broken off, and the others go on', async () => {
    const streams: ServerHttp2Stream[] = [];
    const server = createServer();
    server.on('stream', (stream, { ':path': path }) => {
      streams.push(stream);
      stream.on('error', () => undefined);
      if (path !== '/v1/silent') stream.respond({ ':status': 200 });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await using rig = await new Rig({ dialPort: () => port }).start(BEFORE);
    const session = connect(`http://${rig.address}:18080`);
    session.on('error', () => undefined);
    const statuses = new Map<string, number>();
    try {
      const ask = (path: string): ReturnType<typeof session.request> => {
        const stream = session.request({ ':path': path, ':method': 'POST' }, { endStream: false });
        stream.on('error', () => undefined);
        stream.on('response', ({ ':status': status }) => statuses.set(path, Number(status)));
        return stream.resume();
      };
      const [, open, kept] = [ask('/v1/silent'), ask('/v1/open'), ask('/v2/kept')];
      await until('three streams', () => streams.length === 3 && statuses.size === 2);
      await rig.apply(AFTER);
      await until('an answer', () => statuses.get('/v1/silent') === 403, 30_000);
      await until('the open one', () => open.closed);
      assert.notEqual(open.rstCode, 0);
      await until('the server hears of both', () => streams.filter(({ closed }) => closed).length === 2);
      assert.deepEqual([kept.closed, kept.destroyed], [false, false]);
      // The answered one, whose client still sends, is not told of again.
      await rig.apply(policyFor('/none', 3));
      await until('the third one', () => kept.closed, 30_000);
      const denied = rig.records.filter(({ verdict }) => verdict === 'denied');
      assert.deepEqual(
        denied.map(({ l7 }) => l7.kind === 'http' && l7.path),
        ['/v1/silent', '/v1/open', '/v2/kept'],
      );
    } finally {
      session.destroy();
      server.close();
    }
  });
});
