import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
} from 'node:http2';
import { describe, it } from 'node:test';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const POLICY = ingressPolicy([httpFilter([httpRule({ path: '/pkg\\.Service/.*' })])]);

interface Answer {
  status: number;
  body: string;
  trailers: Record<string, unknown>;
}

async function ask(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  act: (stream: ClientHttp2Stream) => void = (stream) => stream.end(),
): Promise<Answer> {
  const stream = session.request(headers, { endStream: false });
  const answer: Answer = { status: 0, body: '', trailers: {} };
  stream.on('response', (got) => {
    answer.status = Number(got[':status']);
  });
  stream.on('trailers', (got) => {
    answer.trailers = { ...got };
  });
  stream.on('data', (chunk) => {
    answer.body += String(chunk);
  });
  act(stream);
  await once(stream, 'close');
  return answer;
}

/** A server that echoes bodies with trailers, and the rig before it. */
async function setUp(): Promise<{
  rig: Rig;
  server: Http2Server;
  seen: string[];
  session: ClientHttp2Session;
}> {
  const seen: string[] = [];
  const server = createServer();
  server.on('stream', (stream, headers) => {
    seen.push(String(headers[':path']));
    let got: Record<string, unknown> = {};
    stream.on('trailers', (trailers) => {
      got = trailers;
    });
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'grpc-status': '0', 'x-got': String(got['x-sent'] ?? '') }),
    );
    stream.on('error', () => undefined);
    stream.pipe(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const rig = await new Rig({ dialPort: () => port }).start(POLICY);
  const session = connect(`http://${rig.address}:18080`);
  session.on('error', () => undefined);
  return { rig, server, seen, session };
}

describe('HTTP/2 with prior knowledge through the proxy', () => {
  it('is judged stream by stream, with bodies and trailers both ways', async () => {
    const { rig, server, seen, session } = await setUp();
    try {
      const allowed = await ask(
        session,
        { ':method': 'POST', ':path': '/pkg.Service/Do', te: 'trailers' },
        (stream) => {
          stream.write('hello ');
          stream.end('world');
        },
      );
      assert.deepEqual([allowed.status, allowed.body], [200, 'hello world']);
      assert.equal(allowed.trailers['grpc-status'], '0');
      const denied = await ask(session, { ':method': 'POST', ':path': '/pkg.Other/Do' });
      assert.deepEqual([denied.status, denied.body], [403, 'Access denied\r\n']);
      const again = await ask(session, { ':method': 'POST', ':path': '/pkg.Service/Again' });
      assert.equal(again.status, 200);
      assert.deepEqual(seen, ['/pkg.Service/Do', '/pkg.Service/Again']);
      const shown = rig.records.map(({ type, verdict }) => `${type} ${verdict}`);
      assert.deepEqual(shown, [
        'request forwarded',
        'response forwarded',
        'request denied',
        'request forwarded',
        'response forwarded',
      ]);
      assert.ok(rig.records.every(({ l7 }) => l7.kind === 'http' && l7.protocol === 'HTTP/2'));
    } finally {
      session.destroy();
      await rig.stop();
      server.close();
    }
  });

  it('is judged by all values of a header that comes more than once, joined as in HTTP/1', async () => {
    const { rig, server, seen, session } = await setUp();
    try {
      await rig.apply(ingressPolicy([httpFilter([httpRule({ headers: ['X-A: 1,2'] })])], 2));
      const one = { ':method': 'GET', ':path': '/pkg.Service/Do' };
      const ask2 = async (values: string[]): Promise<number> => {
        const stream = session.request({ ...one, 'x-a': values }, { endStream: true });
        const [got] = await once(stream, 'response');
        stream.close();
        return Number(got[':status']);
      };
      assert.deepEqual([await ask2(['1', '2']), await ask2(['1']), await ask2(['2', '1'])], [200, 403, 403]);
      assert.equal(seen.length, 1);
    } finally {
      session.destroy();
      await rig.stop();
      server.close();
    }
  });

  for (const path of [
    '/pkg.Service/../admin',
    '/pkg.Service/%2e%2e/admin',
    '/pkg.Service//x',
    '/pkg.Service/a\\b',
  ]) {
    it(`refuses ${path} with 400`, async () => {
      const { rig, server, seen, session } = await setUp();
      try {
        const answer = await ask(session, { ':method': 'GET', ':path': path });
        assert.equal(answer.status, 400);
        assert.deepEqual(seen, []);
      } finally {
        session.destroy();
        await rig.stop();
        server.close();
      }
    });
  }

  it('answers 503 when the server speaks no HTTP/2', async () => {
    const rig = await new Rig().start(POLICY);
    rig.server.answer = (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    const session = connect(`http://${rig.address}:18080`);
    session.on('error', () => undefined);
    try {
      const answer = await ask(session, { ':method': 'GET', ':path': '/pkg.Service/Do' });
      assert.equal(answer.status, 503);
    } finally {
      session.destroy();
      await rig.stop();
    }
  });

  it('carries a big body at the pace of its reader', async () => {
    const { rig, server, session } = await setUp();
    try {
      const size = 8 * 1024 * 1024;
      const stream = session.request(
        { ':method': 'POST', ':path': '/pkg.Service/Big' },
        { endStream: false },
      );
      let got = 0;
      stream.on('data', (chunk: Buffer) => {
        got += chunk.length;
      });
      stream.end(Buffer.alloc(size));
      await until('the echo', () => got === size, 20_000);
    } finally {
      session.destroy();
      await rig.stop();
      server.close();
    }
  });
});
