import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../../src/api/operations.ts';
import { SystemError } from '../../../src/base/errors.ts';
import { requestText, startServer } from './support.ts';

describe('the API server', () => {
  it('answers JSON with its type and counts the call by its template', async () => {
    await using server = await startServer();
    const answer = await server.raw(requestText('GET', '/v1/identity/7'));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/json');
    assert.deepEqual(JSON.parse(answer.body), { id: 7 });
    const [record] = server.records;
    assert.deepEqual([record?.method, record?.path, record?.status], ['GET', '/v1/identity/{id}', 200]);
    assert.ok((record?.durationMs ?? -1) >= 0);
  });

  it('answers a refusal with its status and a bare JSON string', async () => {
    await using server = await startServer({
      putPolicy: () =>
        Promise.reject(
          new ApiError(460, 'rule 0: no endpointSelector', { field: 'policy', hint: 'add one' }),
        ),
    });
    const answer = await server.raw(requestText('PUT', '/v1/policy', '[{}]'));
    assert.equal(answer.status, 460);
    assert.equal(answer.headers.get('content-type'), 'application/json');
    assert.equal(answer.body, '"policy: rule 0: no endpointSelector (add one)"');
    assert.deepEqual(server.errors, [], 'a refusal is no failure of the agent');
  });

  it('answers 500 with the whole reason and reports what an operation throws', async () => {
    const thrown = new SystemError('cannot write', { cause: new Error('ENOSPC') });
    await using server = await startServer({ getConfig: () => Promise.reject(thrown) });
    const answer = await server.raw(requestText('GET', '/v1/config'));
    assert.equal(answer.status, 500);
    assert.equal(answer.body, '"cannot write: ENOSPC"');
    assert.deepEqual(server.errors, [thrown]);
    assert.equal((await server.raw(requestText('GET', '/v1/healthz'))).status, 200, 'and goes on');
  });

  it('survives an operation that throws no error at all', async () => {
    await using server = await startServer({ getConfig: () => Promise.reject('odd') });
    const answer = await server.raw(requestText('GET', '/v1/config'));
    assert.deepEqual([answer.status, answer.body], [500, '"odd"']);
  });

  it('writes integers beyond 2^53 exactly', async () => {
    const big = 18_446_744_073_709_551_615n;
    await using server = await startServer({
      getConfig: () => Promise.resolve({ status: { daemonConfigurationMap: { big } } }),
    });
    const answer = await server.raw(requestText('GET', '/v1/config'));
    assert.match(answer.body, /"big":18446744073709551615[,}]/);
  });

  it('answers 404 on an unknown path and 405 on a wrong method, naming what is served', async () => {
    await using server = await startServer();
    const unknown = await server.raw(requestText('GET', '/v1/nothing'));
    assert.deepEqual([unknown.status, unknown.body], [404, '"no such path: /v1/nothing"']);
    assert.equal((await server.raw(requestText('GET', '/healthz'))).status, 404);
    const wrong = await server.raw(requestText('POST', '/v1/endpoint/1', '{}'));
    assert.equal(wrong.status, 405);
    assert.equal(wrong.headers.get('allow'), 'GET, PUT, PATCH, DELETE');
    assert.equal(wrong.body, '"POST is not served on /v1/endpoint/{id}, only GET, PUT, PATCH, DELETE"');
  });

  it('answers 206 with the number of errors, and nothing when there was none', async () => {
    await using server = await startServer({
      deleteEndpoint: (id) => Promise.resolve('id' in id ? id.id : 0),
    });
    const some = await server.raw(requestText('DELETE', '/v1/endpoint/3'));
    assert.deepEqual([some.status, some.body], [206, '3']);
    const none = await server.raw(requestText('DELETE', '/v1/endpoint/container-id:abc'));
    assert.deepEqual([none.status, none.body], [200, '']);
  });

  it('answers 503 after the deadline and aborts the operation', async () => {
    const aborted = Promise.withResolvers<unknown>();
    await using server = await startServer(
      {
        getConfig: (context) => {
          context.signal.addEventListener('abort', () => aborted.resolve(context.signal.reason));
          return new Promise(() => undefined);
        },
      },
      { deadlineMs: 50 },
    );
    const answer = await server.raw(requestText('GET', '/v1/config'));
    assert.deepEqual([answer.status, answer.body], [503, '"not done within 0.05 s"']);
    assert.ok((await aborted.promise) instanceof ApiError);
  });

  it('aborts the operation when the caller hangs up', async () => {
    const started = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    await using server = await startServer({
      getConfig: (context) => {
        context.signal.addEventListener('abort', () => aborted.resolve());
        started.resolve();
        return new Promise(() => undefined);
      },
    });
    const socket = connect(server.socketPath, () => socket.write(requestText('GET', '/v1/config')));
    await started.promise;
    socket.destroy();
    await aborted.promise;
  });

  it('answers 200 calls at once', async () => {
    await using server = await startServer({ getIdentity: (id) => delay(id % 7).then(() => ({ id })) });
    const ids = Array.from({ length: 200 }, (_, id) => id);
    const answers = await Promise.all(ids.map((id) => server.raw(requestText('GET', `/v1/identity/${id}`))));
    assert.deepEqual(
      answers.map((answer) => JSON.parse(answer.body).id),
      ids,
    );
  });

  it('lets running calls end when it stops, and takes no new ones', async () => {
    const finish = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    await using server = await startServer({
      getConfig: async () => {
        started.resolve();
        await finish.promise;
        return {};
      },
    });
    const running = server.raw(requestText('GET', '/v1/config'));
    await started.promise;
    const stopped = server.stop();
    finish.resolve();
    assert.equal((await running).status, 200);
    await stopped;
    await assert.rejects(server.raw(requestText('GET', '/v1/config')), { code: 'ENOENT' });
  });

  it('stops in time although a call never ends', async () => {
    const started = Promise.withResolvers<void>();
    const getConfig = (): Promise<never> => {
      started.resolve();
      return new Promise(() => undefined);
    };
    await using server = await startServer({ getConfig }, { stopGraceMs: 20 });
    const running = server.raw(requestText('GET', '/v1/config'));
    await started.promise;
    await server.stop();
    assert.equal((await running).status, 0, 'the call is cut off without an answer');
  });

  it('hangs up on a client that does not finish its request, with 408', async () => {
    await using server = await startServer({}, { requestTimeoutMs: 100 });
    const answer = await server.raw('PUT /v1/policy HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[');
    assert.equal(answer.status, 408);
    assert.equal(answer.body, '"the request did not arrive in time"');
    assert.equal((await server.raw(requestText('GET', '/v1/healthz'))).status, 200);
  });

  it('answers what is no HTTP with 400 and goes on', async () => {
    await using server = await startServer();
    for (const garbage of ['\x00\x01\x02\r\n\r\n', 'GET\r\n\r\n', 'GET /v1/healthz HTTP/9.9\r\n\r\n']) {
      const answer = await server.raw(garbage);
      assert.equal(answer.status, 400);
      assert.equal(typeof JSON.parse(answer.body), 'string');
    }
    const long = await server.raw(`GET /v1/healthz HTTP/1.1\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`);
    assert.equal(long.status, 431);
    assert.equal((await server.raw(requestText('GET', '/v1/healthz'))).status, 200);
  });
});
