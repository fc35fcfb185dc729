import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { createServer, Socket } from 'node:net';
import { describe, it } from 'node:test';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const V1 = ingressPolicy([httpFilter([httpRule({ path: '/v1/.*' })])]);
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;
const MIB = 1024 * 1024;

describe('a proxied connection', () => {
  it('that the server refuses is answered with 503', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const address = closed.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    closed.close();
    await using rig = await new Rig({ dialPort: () => port, http: { lingerMs: 50 } }).start(V1);
    const client = await rig.client();
    client.send(get('/v1/a'));
    assert.deepEqual(await client.answers(1), [503]);
    await client.end();
    assert.equal(rig.records.at(-1)?.verdict, 'error');
    client.destroy();
  });

  it('that cannot even be begun is answered with 503', async () => {
    const dial = (): Socket => new Socket().destroy(new Error('EADDRINUSE'));
    await using rig = await new Rig({ dial, http: { lingerMs: 50 } }).start(V1);
    const client = await rig.client();
    client.send(get('/v1/a') + get('/v1/b'));
    assert.deepEqual(await client.answers(1), [503]);
    await client.end();
    client.destroy();
    const session = connectHttp2(`http://${rig.address}:18080`);
    session.on('error', () => undefined);
    const stream = session.request({ ':path': '/v1/a' });
    const [headers] = await once(stream, 'response');
    assert.equal(headers[':status'], 503);
    session.destroy();
  });

  it('that the server does not accept is answered with 503 in time', async () => {
    // Never connected, never refused.
    const dial = (): Socket => Object.assign(new Socket(), { connecting: true });
    await using rig = await new Rig({ dial, http: { connectTimeoutMs: 50, lingerMs: 50 } }).start(V1);
    const client = await rig.client();
    client.send(get('/v1/a'));
    assert.deepEqual(await client.answers(1), [503]);
    await client.end();
    client.destroy();
  });

  it('without a first byte is ended in time', async () => {
    await using rig = await new Rig({ http: { openingTimeoutMs: 50 } }).start(V1);
    const client = await rig.client();
    await client.end();
    client.destroy();
  });

  it('beyond the share of its client is reset, until one of the others ends', async () => {
    await using rig = await new Rig({ maxConnections: 8 }).start(V1);
    const first = await rig.client();
    const second = await rig.client();
    for (const client of [first, second]) client.send(get('/v1/a'));
    await Promise.all([first.answers(1), second.answers(1)]);
    // Whether the reset comes before or behind the client's notice of having connected.
    const third = await rig.client().catch(() => undefined);
    await until('reset', () => third === undefined || third.closed);
    first.destroy();
    await until('room again', () => rig.server.connections.some(({ closed }) => closed));
    const fourth = await rig.client();
    fourth.send(get('/v1/a'));
    assert.deepEqual(await fourth.answers(1), [200]);
    for (const client of [second, fourth]) client.destroy();
  });

  it('carries the FIN of a client that still waits for its answer', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    rig.server.answer = () => undefined;
    client.socket.end(get('/v1/a'));
    await until('request', () => rig.server.text === get('/v1/a'));
    await until('FIN', () => rig.server.connections[0]?.ended === true);
    client.destroy();
  });

  it('answers a client that half-closed', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.socket.end(get('/v1/a') + get('/x') + get('/v1/b'));
    await client.end();
    assert.deepEqual(client.statuses, [200, 403, 200]);
  });

  it('is reset for the client when the server resets it', async () => {
    await using rig = await new Rig().start(V1);
    rig.server.answer = (socket) => socket.resetAndDestroy();
    const client = await rig.client();
    client.send(get('/v1/a'));
    await until('closed', () => client.closed);
    assert.equal(client.error, 'ECONNRESET');
  });

  it('is reset for the server when the client resets it', async () => {
    await using rig = await new Rig().start(V1);
    rig.server.answer = () => undefined;
    const client = await rig.client();
    client.send(get('/v1/a'));
    await until('request', () => rig.server.text === get('/v1/a'));
    client.socket.resetAndDestroy();
    await until('closed', () => rig.server.connections[0]?.closed === true);
  });

  it('ends when the server ends it between requests', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a'));
    await client.answers(1);
    rig.server.connections[0]?.socket.end();
    await client.end();
    client.socket.end();
    await until('closed', () => client.closed);
  });

  it('does not read on behind a request that closes', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a', 'Connection: close\r\n') + get('/v1/b'));
    await client.answers(1);
    assert.equal(rig.server.text, get('/v1/a', 'Connection: close\r\n'));
    client.destroy();
  });

  it('ends behind the 403 of a request that closes', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/x', 'Connection: close\r\n') + get('/v1/b'));
    await client.end();
    assert.deepEqual(client.statuses, [403]);
    assert.match(client.text, /connection: close\r\n/);
    client.destroy();
  });

  it('takes HTTP/1.0, with and without Host', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send('GET /v1/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    await client.answers(1);
    client.send('GET /x HTTP/1.0\r\n\r\n');
    await client.end();
    assert.deepEqual(client.statuses, [200, 403]);
    client.destroy();
  });

  it('passes the absolute form on as the server understands it', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send('GET http://H:80/v1/%7euser?q=%7e HTTP/1.1\r\nHost: h\r\n\r\n');
    await client.answers(1);
    assert.equal(rig.server.text, get('/v1/~user?q=%7e'));
    client.destroy();
  });

  it('takes requests in any pieces', async () => {
    await using rig = await new Rig().start(V1);
    const post =
      'POST /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n';
    rig.server.answer = (socket, text) => {
      if (text === post) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    };
    const client = await rig.client();
    for (const char of `\r\n${post}${get('/x')}`) {
      client.send(char);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.answers(2);
    assert.equal(rig.server.text, post);
    client.destroy();
  });

  it('with a reader that stands still holds little of a big answer, and reads on with it', async () => {
    await using rig = await new Rig().start(V1);
    const size = 64 * MIB;
    let written = 0;
    rig.server.answer = (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
      const more = (): void => {
        while (written < size) {
          written += MIB;
          if (!socket.write(Buffer.alloc(MIB))) return;
        }
      };
      socket.on('drain', more);
      more();
    };
    const client = await rig.client();
    let got = 0;
    client.socket.removeAllListeners('data');
    client.socket.pause();
    client.send(get('/v1/big'));
    let before = -1;
    while (written !== before || written === 0) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(written < 32 * MIB, `${written} bytes taken of a server whose client reads nothing`);
    client.socket.on('data', (chunk: Buffer) => {
      got += chunk.length;
    });
    client.socket.resume();
    await until('the whole answer', () => got > size, 20_000);
    client.destroy();
  });

  it('with a server that stands still holds little of a big request', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    rig.server.answer = (socket) => socket.pause();
    const size = 64 * MIB;
    client.send(`POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`);
    await until('the head', () => rig.server.text.length > 0);
    let sent = 0;
    let full = false;
    while (!full && sent < size) {
      sent += MIB;
      full = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), 300);
        client.socket.write(Buffer.alloc(MIB), () => {
          clearTimeout(timer);
          resolve(false);
        });
      });
    }
    assert.ok(full, `${sent} bytes taken though the server reads nothing`);
    client.destroy();
  });

  it('does not read further requests than may wait for their answers', async () => {
    await using rig = await new Rig({ http: { pipelined: 4 } }).start(V1);
    rig.server.answer = () => undefined;
    const client = await rig.client();
    client.send(get('/v1/a').repeat(100));
    await until('four requests', () => rig.server.text.length >= 4 * get('/v1/a').length);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(rig.server.text, get('/v1/a').repeat(4));
    rig.server.connections[0]?.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'.repeat(3));
    await until('three more', () => rig.server.text === get('/v1/a').repeat(7));
    client.destroy();
  });

  it('does not read further requests than it may keep the heads of', async () => {
    await using rig = await new Rig({ http: { waitingBytes: 1000 } }).start(V1);
    rig.server.answer = () => undefined;
    const client = await rig.client();
    const long = get(`/v1/${'a'.repeat(300)}`);
    client.send(long.repeat(20));
    await until('two requests', () => rig.server.text.length >= 2 * long.length);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(rig.server.text, long.repeat(2), 'each is kept as head and as target');
    const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
    for (let i = 3; i <= 20; i++) {
      rig.server.connections[0]?.socket.write(ok);
      await until(`${i} requests`, () => rig.server.text === long.repeat(i));
    }
    client.destroy();
  });
});
