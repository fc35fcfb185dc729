import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const V1 = ingressPolicy([httpFilter([httpRule({ path: '/v1/.*' })])]);
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

/** A rig whose server answers each connection's first bytes with `answer`. */
async function answering(answer: string | ((socket: Socket, text: string) => void)): Promise<Rig> {
  const rig = await new Rig({ http: { lingerMs: 100 } }).start(V1);
  rig.server.answer = typeof answer === 'string' ? (socket) => socket.write(answer) : answer;
  return rig;
}

/** Once for each connection. */
function once(act: (socket: Socket) => void): (socket: Socket) => void {
  const done = new WeakSet<Socket>();
  return (socket) => {
    if (done.has(socket)) return;
    done.add(socket);
    act(socket);
  };
}

describe('answers through the HTTP proxy', () => {
  it('to HEAD, 204 and 304 have no body, whatever their fields say', async () => {
    await using rig = await answering((socket, text) => {
      const heads = text.split('\r\n\r\n').length - 1;
      const answers = [
        'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n',
        'HTTP/1.1 204 No Content\r\n\r\n',
        'HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n',
        OK,
      ];
      socket.write(answers[heads - 1] ?? '');
    });
    const client = await rig.client();
    client.send('HEAD /v1/a HTTP/1.1\r\nHost: h\r\n\r\n');
    await client.answers(1);
    for (const [i, status] of [204, 304, 200].entries()) {
      client.send(get('/v1/a'));
      assert.equal((await client.answers(i + 2)).at(-1), status);
    }
    client.destroy();
  });

  it('may be chunked, with extensions and trailers, in any pieces', async () => {
    const answer =
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n';
    await using rig = await answering(
      once(async (socket) => {
        for (const char of answer) {
          socket.write(char);
          await new Promise((resolve) => setImmediate(resolve));
        }
      }),
    );
    const client = await rig.client();
    client.send(get('/v1/a') + get('/denied'));
    await client.answers(2);
    assert.ok(client.text.startsWith(answer), client.text);
    assert.equal(client.statuses[1], 403);
    client.destroy();
  });

  it('pass 103 on before the final one', async () => {
    await using rig = await answering(`HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${OK}`);
    const client = await rig.client();
    client.send(get('/v1/a'));
    assert.deepEqual(await client.answers(2), [103, 200]);
    client.destroy();
  });

  it('of 100 are given by the proxy, each in its turn, and the server is not asked for one', async () => {
    const post = (path: string, fields: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: h\r\n${fields}Content-Length: 4\r\n\r\n`;
    let bodies = 0;
    await using rig = await answering((socket, text) => {
      for (; bodies < text.split('body').length - 1; bodies++) socket.write(OK);
    });
    const client = await rig.client();
    const waits = post('/v1/a', 'Expect: 100-continue\r\n');
    client.send(waits);
    assert.deepEqual(await client.answers(1), [100]);
    client.send(`body${waits}`);
    assert.deepEqual(await client.answers(3), [100, 200, 100]);
    client.send('body');
    assert.deepEqual(await client.answers(4), [100, 200, 100, 200]);
    assert.equal(rig.server.text, `${post('/v1/a', '')}body`.repeat(2));
    client.destroy();
  });

  it('without a length end with the connection', async () => {
    await using rig = await answering(once((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end')));
    const client = await rig.client();
    client.send('GET /v1/a HTTP/1.0\r\n\r\n');
    await client.end();
    assert.match(client.text, /until the end$/);
    client.destroy();
  });

  it('that come before the whole request are passed on, and the body still goes to the server', async () => {
    await using rig = await answering(
      once((socket) => socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n')),
    );
    const client = await rig.client();
    client.send('POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf');
    assert.deepEqual(await client.answers(1), [413]);
    client.send('rest');
    await until('the rest', () => rig.server.text.endsWith('halfrest'));
    client.destroy();
  });

  it('101 opens the stream only if it was asked for', async () => {
    const switching = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n';
    await using rig = await answering((socket, text) => {
      if (text.endsWith('\r\n\r\n')) socket.write(switching);
      if (text.endsWith('ping')) socket.write('pong');
    });
    const asked = await rig.client();
    asked.send(get('/v1/ws', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
    assert.deepEqual(await asked.answers(1), [101]);
    asked.send('GET /denied HTTP/1.1\r\n\r\nping');
    await until('pong', () => asked.text.endsWith('pong'));
    asked.destroy();
    const unasked = await rig.client();
    unasked.send(get('/v1/a'));
    assert.deepEqual(await unasked.answers(1), [502]);
    await unasked.end();
    unasked.destroy();
  });

  it('of an upgrade that the server declines leave requests judged', async () => {
    await using rig = await answering((socket, text) => {
      if (text.endsWith('\r\n\r\n')) socket.write(OK);
    });
    const client = await rig.client();
    client.send(
      get('/v1/ws', 'Connection: Upgrade\r\nUpgrade: websocket\r\n') + get('/denied') + get('/v1/b'),
    );
    assert.deepEqual(await client.answers(3), [200, 403, 200]);
    assert.ok(!rig.server.text.includes('/denied'));
    client.destroy();
  });

  it('never carry an upgrade to HTTP/2: it is taken out of the request', async () => {
    await using rig = await answering(OK);
    const client = await rig.client();
    client.send(
      get(
        '/v1/a',
        'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX: y\r\n',
      ),
    );
    await client.answers(1);
    assert.equal(rig.server.text, get('/v1/a', 'X: y\r\n'));
    client.destroy();
  });
});

describe('a hostile server', () => {
  const attacks: readonly (readonly [what: string, answer: string])[] = [
    ['two answers to one request', `${OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`],
    [
      'Content-Length and Transfer-Encoding',
      'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nevil',
    ],
    ['two Content-Lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 4\r\n\r\nevil'],
    ['lines that end with LF', 'HTTP/1.1 200 OK\ncontent-length: 4\n\nevil'],
    ['a CR inside a value', 'HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 4\r\n\r\nevil'],
    ['a bad chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nevil'],
    ['no HTTP', 'SSH-2.0-evil\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 evil\r\n\r\n'],
    ['an endless head', `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(70_000)}evil`],
  ];
  for (const [what, answer] of attacks) {
    it(`that sends ${what} ends the connection, and nothing evil reaches the client`, async () => {
      await using rig = await answering(once((socket) => socket.write(answer)));
      const client = await rig.client();
      client.send(get('/v1/a'));
      await client.end();
      assert.ok(!client.text.includes('evil'), client.text);
      client.destroy();
    });
  }

  it('that answers HEAD with a body ends the connection', async () => {
    await using rig = await answering('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil');
    const client = await rig.client();
    client.send('HEAD /v1/a HTTP/1.1\r\nHost: h\r\n\r\n');
    await client.end();
    assert.ok(!client.text.includes('evil'));
    client.destroy();
  });

  it('that speaks before it is asked is not heard', async () => {
    await using rig = await answering(once((socket) => socket.write(`${OK}${OK}`)));
    const client = await rig.client();
    client.send(get('/v1/a'));
    await client.end();
    assert.deepEqual(client.statuses, [200]);
    client.destroy();
  });
});
