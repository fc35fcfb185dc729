import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const V1 = ingressPolicy([httpFilter([httpRule({ method: 'GET|POST', path: '/v1/.*' })])]);
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;

describe('the HTTP proxy', () => {
  it('passes an allowed request on unchanged, and the answer back', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a', 'X-Odd:  kept as is \r\n'));
    assert.deepEqual(await client.answers(1), [200]);
    assert.equal(rig.server.text, get('/v1/a', 'X-Odd:  kept as is \r\n'));
    client.destroy();
  });

  it('answers a denied request with 403 and goes on with the connection', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/admin'));
    await client.answers(1);
    assert.match(client.text, /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*\r\n\r\nAccess denied\r\n$/);
    assert.match(client.text, /content-type: text\/plain\r\n/);
    client.send(get('/v1/a'));
    assert.deepEqual(await client.answers(2), [403, 200]);
    assert.equal(rig.server.text, get('/v1/a'));
    client.destroy();
  });

  it('answers pipelined requests in their order, denied ones in their place', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a') + get('/x') + get('/v1/b') + get('/y') + get('/z') + get('/v1/c'));
    assert.deepEqual(await client.answers(6), [200, 403, 200, 403, 403, 200]);
    assert.equal(rig.server.text, get('/v1/a') + get('/v1/b') + get('/v1/c'));
    client.destroy();
  });

  it('denies everything before the first policy', async () => {
    await using rig = await new Rig().start();
    const client = await rig.client();
    client.send(get('/v1/a'));
    assert.deepEqual(await client.answers(1), [403]);
    assert.equal(rig.records[0]?.reason, 'no policy yet');
    assert.equal(rig.server.connections.length, 0);
    client.destroy();
  });

  it('judges a request on an open connection by the policy of its moment', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a'));
    await client.answers(1);
    await rig.apply(ingressPolicy([httpFilter([httpRule({ path: '/v2/.*' })])], 2));
    client.send(get('/v1/a') + get('/v2/a'));
    assert.deepEqual(await client.answers(3), [200, 403, 200]);
    client.destroy();
  });

  it('writes a record for each request and each answer', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a') + get('/x'));
    await client.answers(2);
    const shown = rig.records.map(({ type, verdict, rules, direction, l7 }) => ({
      ...{ type, verdict, rules, direction },
      ...(l7.kind === 'http' ? { path: l7.path, status: l7.status } : {}),
    }));
    const common = { direction: 'ingress', rules: ['default/rule'] };
    assert.deepEqual(
      shown.sort((a, b) => (a.status ?? 0) - (b.status ?? 0)),
      [
        { ...common, type: 'request', verdict: 'forwarded', path: '/v1/a', status: 0 },
        { ...common, type: 'response', verdict: 'forwarded', path: '/v1/a', status: 200 },
        { ...common, type: 'request', verdict: 'denied', rules: [], path: '/x', status: 403 },
      ],
    );
    assert.ok(
      rig.records.every(({ source, destination }) => source.identity === 100 && destination.endpoint === 7),
    );
    await until('records at the agent', () => rig.messages.some(({ type }) => type === 'access-log'));
    client.destroy();
  });
});
