import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AgentClient } from '../../src/api/client.ts';
import { HealthClient } from '../../src/api/health-client.ts';
import { SourceError } from '../../src/api/source-error.ts';
import { asNobody, tempFolder } from '../agent/api/support.ts';

interface Peer extends AsyncDisposable {
  readonly path: string;
  readonly client: AgentClient;
  readonly requests: {
    readonly head: string;
    readonly headers: IncomingMessage['headers'];
    readonly body: string;
  }[];
}

/** A server that answers by `listener` after the request's body has come. */
async function startPeer(listener: RequestListener, timeoutMs?: number): Promise<Peer> {
  const folder = tempFolder();
  const path = join(folder.path, 'a.sock');
  const requests: Peer['requests'] = [];
  const server = createServer({ requireHostHeader: false }, (req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      requests.push({
        head: `${req.method} ${req.url}`,
        headers: req.headers,
        body: Buffer.concat(chunks).toString(),
      });
      listener(req, res);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    path,
    requests,
    client: new AgentClient({ address: { kind: 'unix', path }, timeoutMs }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      folder[Symbol.dispose]();
    },
  };
}

const answer =
  (status: number, body: string, type = 'application/json'): RequestListener =>
  (_req, res) => {
    res.writeHead(status, { 'content-type': type }).end(body);
  };

async function failureOf(promise: Promise<unknown>): Promise<SourceError> {
  const error: unknown = await promise.then(
    () => assert.fail('should have failed'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SourceError, String(error));
  return error;
}

describe('AgentClient', () => {
  it('asks as Cilium clients do: body in a GET, options in headers', async () => {
    await using peer = await startPeer((req, res) =>
      answer(200, req.url === '/v1/endpoint' ? '[]' : '{}')(req, res),
    );
    await peer.client.endpoints(['k8s:class=deathstar']);
    await peer.client.endpoints();
    await peer.client.healthz({ brief: true });
    await peer.client.nodeChanges(7);
    await peer.client.endpoint('pod-name:default/xwing');
    await peer.client.allocateIps({ family: 'ipv6', owner: 'me & you', expiration: true });
    const [filtered, all, brief, nodes, pod, ipam] = peer.requests;
    assert.equal(filtered?.head, 'GET /v1/endpoint');
    assert.equal(filtered?.body, '["k8s:class=deathstar"]');
    assert.equal(filtered?.headers['content-type'], 'application/json');
    assert.equal(all?.body, '');
    assert.equal(all?.headers['content-type'], undefined);
    assert.equal(brief?.headers.brief, 'true');
    assert.equal(nodes?.headers['client-id'], '7');
    assert.equal(pod?.head, 'GET /v1/endpoint/pod-name:default%2Fxwing');
    assert.equal(ipam?.head, 'POST /v1/ipam?family=ipv6&owner=me+%26+you');
    assert.equal(ipam?.headers.expiration, 'true');
  });

  it('rejects an answer of another shape than was asked for, and says which', async () => {
    await using peer = await startPeer(answer(200, '[7]'));
    const bad = { code: 'SOURCE_BAD_ANSWER', exitCode: 4 };
    await assert.rejects(peer.client.healthz(), {
      ...bad,
      message: /a list where an object .*GET \/healthz/,
    });
    await assert.rejects(peer.client.endpoints(), {
      ...bad,
      message: /a list with a number in it where a list of objects/,
    });
    await assert.rejects(peer.client.putPolicy('[]'), bad);
    await assert.rejects(peer.client.putEndpoint('1', { state: 'ready' }), bad);
    await peer.client.patchConfig({});
  });

  it('keeps integers of the answer exact', async () => {
    await using peer = await startPeer(answer(200, '{"revision":18446744073709551615}'));
    assert.equal((await peer.client.policy()).revision as unknown, 18_446_744_073_709_551_615n);
  });

  it('takes an empty answer, null for a list, and what carries no type', async () => {
    await using empty = await startPeer((_req, res) => void res.writeHead(200).end());
    assert.deepEqual(await empty.client.endpoints(), []);
    assert.equal(await empty.client.deleteEndpoint('1'), 0);
    await using nothing = await startPeer(answer(200, 'null'));
    assert.deepEqual(await nothing.client.identities(), []);
    await using errors = await startPeer(answer(206, '3'));
    assert.equal(await errors.client.deleteEndpoint('1'), 3);
  });

  it('gives no endpoints for a filter that matches none, but fails for one that is not there', async () => {
    await using peer = await startPeer(answer(404, '"no endpoint 5"'));
    assert.deepEqual(await peer.client.endpoints(['k8s:a=b']), []);
    assert.deepEqual(await peer.client.ips({ cidr: '10.0.0.0/8' }), []);
    const error = await failureOf(peer.client.endpoint('5'));
    assert.equal(error.code, 'NOT_FOUND');
    assert.equal(error.exitCode, 1);
    assert.equal(error.message, 'no endpoint 5 (GET /v1/endpoint/5 answered 404)');
  });

  it('takes the nodes of a 2018 agent from its status', async () => {
    await using peer = await startPeer((req, res) => {
      const nodes = req.url === '/v1/healthz';
      answer(nodes ? 200 : 404, nodes ? '{"cluster":{"nodes":[{"name":"n1"}]}}' : '"?"')(req, res);
    });
    assert.deepEqual(await peer.client.nodes(), [{ name: 'n1' }]);
  });

  it('fails with status, text and an exit code that fits', async () => {
    const cases: readonly [number, string, string, number][] = [
      [400, '"labels[0]: bad"', 'labels[0]: bad', 2],
      [403, '"denied"', 'denied', 3],
      [429, '"later"', 'later', 4],
      [460, '"rule 0"', 'rule 0', 2],
      [500, '{"message":"odd"}', '{"message":"odd"}', 4],
      [503, '<html>', '<html>', 4],
    ];
    for (const [status, body, text, exitCode] of cases) {
      await using peer = await startPeer(answer(status, body));
      const error = await failureOf(peer.client.config());
      assert.deepEqual(
        [error.code, error.status, error.text, error.exitCode],
        ['API_ERROR', status, text, exitCode],
      );
    }
    await using silent = await startPeer(answer(500, ''));
    assert.match(
      (await failureOf(silent.client.config())).message,
      /gave no reason \(GET \/v1\/config answered 500\)/,
    );
  });

  it('says where nobody answers and what to do', async () => {
    using folder = tempFolder();
    const path = join(folder.path, 'none.sock');
    const error = await failureOf(new AgentClient({ address: { kind: 'unix', path } }).healthz());
    assert.equal(error.code, 'SOURCE_UNREACHABLE');
    assert.equal(error.exitCode, 4);
    assert.equal(error.message, `cannot reach the agent at unix://${path}`);
    assert.match(error.hint ?? '', /is the agent running\?/);
    assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOENT');
    const health = await failureOf(new HealthClient({ address: { kind: 'unix', path } }).status());
    assert.match(health.message, /^cannot reach the health agent at /);
  });

  it('fails as not permitted on a socket that it may not open', async () => {
    await using peer = await startPeer(answer(200, '{}'));
    chmodSync(peer.path, 0);
    using _nobody = asNobody();
    const error = await failureOf(peer.client.healthz());
    assert.equal(error.code, 'SOURCE_NOT_PERMITTED');
    assert.equal(error.exitCode, 3);
    assert.match(error.hint ?? '', /run as root, or as a member of the group that owns /);
  });

  it('gives up after its time', async () => {
    await using peer = await startPeer(() => undefined, 50);
    const error = await failureOf(peer.client.healthz());
    assert.equal(error.code, 'SOURCE_TIMEOUT');
    assert.match(error.message, /did not answer GET \/v1\/healthz within 0.05 s$/);
  });

  it('gives up after its time although the answer has begun', async () => {
    await using peer = await startPeer((_req, res) => void res.writeHead(200).write('{'), 50);
    assert.equal((await failureOf(peer.client.healthz())).code, 'SOURCE_TIMEOUT');
  });

  it('fails on an answer that is no JSON or is cut off', async () => {
    await using text = await startPeer(answer(200, '<html>'));
    assert.equal((await failureOf(text.client.healthz())).code, 'SOURCE_BAD_ANSWER');
    await using cut = await startPeer((_req, res) => {
      res.writeHead(200, { 'content-length': '100' });
      res.write('{"cilium":', () => res.destroy());
    });
    assert.equal((await failureOf(cut.client.healthz())).code, 'SOURCE_UNREACHABLE');
  });

  it('takes no longer answer than it was told', async () => {
    await using peer = await startPeer(answer(200, `{"x":"${'y'.repeat(3 << 20)}"}`));
    const client = new AgentClient({
      address: { kind: 'unix', path: peer.path },
      maxAnswerBytes: 2 << 20,
    });
    const error = await failureOf(client.nodeChanges(0));
    assert.equal(error.code, 'SOURCE_BAD_ANSWER');
    assert.match(error.message, /longer than 2 MiB/);
  });

  it('asks again when a kept connection was closed in the moment of its use', async () => {
    using folder = tempFolder();
    const path = join(folder.path, 'a.sock');
    const sockets: Socket[] = [];
    const body = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}';
    const server = createTcpServer((socket) => {
      sockets.push(socket);
      socket.once('data', () => {
        socket.write(body);
        // The next request on this connection is met by a close.
        socket.once('data', () => socket.destroy());
      });
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const client = new AgentClient({ address: { kind: 'unix', path } });
      await client.healthz();
      await client.healthz();
      assert.equal(sockets.length, 2);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
