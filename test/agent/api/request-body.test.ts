import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentClient } from '../../../src/api/client.ts';
import { requestText, startServer } from './support.ts';

const MIB = 1024 * 1024;

describe('the body of a request', () => {
  it('is refused when it is no JSON, no UTF-8, of another type, too deep or missing', async () => {
    await using server = await startServer();
    const deep = `{"state":"ready","properties":{"a":${'['.repeat(5000)}${']'.repeat(5000)}}}`;
    const cases: readonly [string | Buffer | undefined, Record<string, string>, number, RegExp][] = [
      ['{"state":', {}, 400, /^the body is no JSON: /],
      [Buffer.from([0x22, 0xff, 0x22]), {}, 400, /^the body is not UTF-8$/],
      ['a: b', { 'content-type': 'application/yaml' }, 415, /application\/json, got "application\/yaml"$/],
      [deep, {}, 400, /^the body is nested deeper than 64 levels$/],
      [undefined, {}, 400, /^endpoint: a body is required$/],
      ['   ', {}, 400, /^endpoint: a body is required$/],
      ['null', {}, 400, /^endpoint: expected object, got null$/],
    ];
    for (const [body, headers, status, text] of cases) {
      const answer = await server.raw(requestText('PUT', '/v1/endpoint/1', body, headers));
      assert.equal(answer.status, status, answer.body);
      assert.match(JSON.parse(answer.body), text);
    }
    assert.deepEqual(server.agent.calls, [], 'nothing reached the agent');
  });

  it('is taken with parameters of its type and without any type', async () => {
    await using server = await startServer();
    const body = '{"state":"ready"}';
    for (const type of ['application/json; charset=utf-8', 'Application/JSON', '']) {
      const answer = await server.raw(requestText('PUT', '/v1/endpoint/1', body, { 'content-type': type }));
      assert.equal(answer.status, 201, type);
    }
  });

  it('is refused with 413 above its limit, declared or chunked', async () => {
    await using server = await startServer();
    const large = JSON.stringify({ state: 'ready', mac: 'x'.repeat(MIB) });
    const declared = await server.raw(requestText('PUT', '/v1/endpoint/1', large));
    assert.equal(declared.status, 413);
    assert.equal(
      declared.body,
      '"the body is longer than the limit of 1048576 bytes (send it in several parts)"',
    );
    const chunk = Buffer.from(`${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`);
    const head = requestText('PUT', '/v1/endpoint/1', undefined, {
      'transfer-encoding': 'chunked',
      'content-type': 'application/json',
    });
    assert.equal((await server.raw(Buffer.concat([head, chunk]))).status, 413);
    assert.equal((await server.raw(requestText('GET', '/v1/healthz'))).status, 200);
  });

  it('above its limit is refused so that a client which is still sending reads why', async () => {
    await using server = await startServer();
    const client = new AgentClient({ address: { kind: 'unix', path: server.socketPath } });
    const large = `[${'"x",'.repeat(5 * MIB)}"x"]`;
    await assert.rejects(client.putPolicy(large), {
      status: 413,
      text: /longer than the limit of 8388608 bytes/,
    });
    assert.equal((await client.healthz()).cilium?.state, 'Ok', 'and its next call works');
  });

  it('of a policy may have 8 MiB', async () => {
    await using server = await startServer();
    const rules = (size: number): string => JSON.stringify([{ description: 'x'.repeat(size) }]);
    assert.equal((await server.raw(requestText('PUT', '/v1/policy', rules(7 * MIB)))).status, 200);
    assert.equal((await server.raw(requestText('PUT', '/v1/policy', rules(8 * MIB)))).status, 413);
  });

  it('of a policy reaches the agent as text, bare or inside a JSON string', async () => {
    await using server = await startServer();
    const rules = '[ {"endpointSelector": {}, "n": 12345678901234567890} ]';
    await server.raw(requestText('PUT', '/v1/policy', rules));
    await server.raw(requestText('PUT', '/v1/policy', JSON.stringify(rules)));
    assert.deepEqual(
      server.agent.calls.map((call) => call.args),
      [[rules], [rules]],
    );
  });

  it('that deletes policies must be given: only an empty list deletes all', async () => {
    await using server = await startServer();
    assert.equal((await server.raw(requestText('DELETE', '/v1/policy'))).status, 400);
    assert.equal((await server.raw(requestText('DELETE', '/v1/policy', '[]'))).status, 200);
    assert.deepEqual(server.agent.calls, [{ name: 'deletePolicy', args: [[]] }]);
  });
});
