import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { AccessLogRecord } from '../../src/model/l7.ts';
import type { ProxyToAgent } from '../../src/model/proxy-protocol.ts';
import { AccessLog } from '../../src/proxy/access-log.ts';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const V1 = ingressPolicy([httpFilter([httpRule({ path: '/v1/.*' })])]);
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;

describe('the control channel of the proxy', () => {
  it('is open to its own user only, and greets', async () => {
    await using rig = await new Rig().start();
    assert.equal(statSync(rig.socketPath).mode & 0o777, 0o600);
    await rig.connectAgent();
    await until('hello', () => rig.messages.length > 0);
    assert.deepEqual(rig.messages[0], { type: 'hello', pid: process.pid, version: 'test' });
  });

  it('belongs to the newest agent, and the policy outlives the former one', async () => {
    await using rig = await new Rig().start(V1);
    const former = await rig.connectAgent();
    const newer = await rig.connectAgent();
    await until('the former ended', () => former.closed || former.readableEnded);
    newer.destroy();
    const client = await rig.client();
    client.send(get('/v1/a') + get('/x'));
    assert.deepEqual(await client.answers(2), [200, 403]);
    client.destroy();
  });

  it('ends an agent that speaks nonsense, and keeps the policy', async () => {
    await using rig = await new Rig().start(V1);
    const agent = await rig.connectAgent();
    agent.write('nonsense\n');
    await until('ended', () => agent.closed || agent.readableEnded);
    const client = await rig.client();
    client.send(get('/v1/a'));
    assert.deepEqual(await client.answers(1), [200]);
    client.destroy();
  });

  it('takes messages in any pieces', async () => {
    await using rig = await new Rig().start();
    const agent = await rig.connectAgent();
    const text = `${JSON.stringify({ type: 'policy', sequence: 5, policy: V1, endpoints: [] })}\n`;
    for (const char of text) {
      agent.write(char);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until('applied', () =>
      rig.messages.some((one) => one.type === 'policy-applied' && one.sequence === 5),
    );
  });
});

describe('the counters of the proxy', () => {
  const last = (rig: Rig) => rig.messages.filter((one) => one.type === 'counters').at(-1)?.counters;

  it('are told to an agent that comes, and while something is counted', async () => {
    await using rig = await new Rig().start(V1);
    const client = await rig.client();
    client.send(get('/v1/a') + get('/x'));
    assert.deepEqual(await client.answers(2), [200, 403]);
    await rig.connectAgent();
    await until('they came', () => last(rig)?.requests.http.received === 2);
    client.send(get('/v1/b'));
    await until('they moved', () => last(rig)?.replies.http.answered.counts.reduce((a, b) => a + b) === 2);
    assert.deepEqual(last(rig)?.requests.http, { received: 3, forwarded: 2, denied: 1, error: 0 });
    client.destroy();
  });
});

describe('the access log', () => {
  const record = (path: string): AccessLogRecord => ({
    ...{
      kind: 'l7',
      time: '',
      type: 'request',
      verdict: 'forwarded',
      direction: 'ingress',
      rules: [],
      reason: '',
    },
    source: { address: '', port: 0, identity: 0, endpoint: 0 },
    destination: { address: '', port: 0, identity: 0, endpoint: 0 },
    latencyNs: 0,
    l7: { kind: 'http', method: 'GET', path, host: '', protocol: 'HTTP/1.1', status: 0 },
  });

  it('keeps the first records for an agent that is away, counts the others, and tells when it comes', () => {
    const sent: ProxyToAgent[] = [];
    let there = false;
    const log = new AccessLog(3, (json) => there && sent.push(JSON.parse(json())) > 0);
    for (const path of ['a', 'b', 'c', 'd', 'e']) log.record(record(path));
    log.flush();
    assert.deepEqual(sent, []);
    there = true;
    log.flush();
    assert.deepEqual(sent, [
      { type: 'access-log', records: ['a', 'b', 'c'].map(record) },
      { type: 'lost', records: 2 },
    ]);
    log.record(record('f'));
    log.flush();
    assert.deepEqual(sent.at(-1), { type: 'access-log', records: [record('f')] });
  });

  it('keeps no more of what clients made up than it has room for, and sends it in messages of a bounded size', () => {
    const texts: string[] = [];
    let there = false;
    const log = new AccessLog(8192, (json) => there && texts.push(json()) > 0);
    const paths = Array.from({ length: 500 }, (_, i) => `/${i}/${'a'.repeat(65_000)}`);
    for (const path of paths) log.record(record(path));
    there = true;
    log.flush();
    const sent = texts.map((text): ProxyToAgent => JSON.parse(text));
    const kept = sent.flatMap((message) => (message.type === 'access-log' ? message.records : []));
    assert.ok(kept.length > 200 && kept.length * 65_000 <= 16 * 1024 * 1024, `${kept.length}`);
    assert.deepEqual(
      kept.map(({ l7 }) => l7.kind === 'http' && l7.path),
      paths.slice(0, kept.length),
    );
    assert.deepEqual(sent.at(-1), { type: 'lost', records: 500 - kept.length });
    assert.ok(texts.every(({ length }) => length < 2 * 1024 * 1024));
    for (const path of paths.slice(0, 100)) log.record(record(path));
    log.flush();
    assert.equal(texts.slice(sent.length).join('').split('"kind":"http"').length - 1, 100);
  });

  it('has room for as much of every protocol, in lists and fields too', () => {
    const long = 'a'.repeat(100_000);
    const others: readonly AccessLogRecord['l7'][] = [
      { kind: 'kafka', apiKey: 0, apiVersion: 0, correlationId: 0, topics: [long, long], errorCode: 0 },
      { kind: 'cassandra', fields: { query_action: 'select', query_table: long } },
    ];
    for (const l7 of others) {
      let lost = 0;
      let there = false;
      const log = new AccessLog(8192, (json) => {
        if (!there) return false;
        const message: ProxyToAgent = JSON.parse(json());
        if (message.type === 'lost') lost += message.records;
        return true;
      });
      for (let i = 0; i < 500; i++) log.record({ ...record(''), l7 });
      there = true;
      log.flush();
      assert.ok(lost > 300, `${l7.kind}: ${lost} lost`);
    }
  });

  it('sends in batches, in order', () => {
    const sent: ProxyToAgent[] = [];
    const log = new AccessLog(1000, (json) => sent.push(JSON.parse(json())) > 0);
    for (let i = 0; i < 600; i++) log.record(record(String(i)));
    log.flush();
    const paths = sent.flatMap((message) =>
      message.type === 'access-log'
        ? message.records.map(({ l7 }) => (l7.kind === 'http' ? l7.path : ''))
        : [],
    );
    assert.deepEqual(
      paths,
      Array.from({ length: 600 }, (_, i) => String(i)),
    );
    assert.ok(sent.length > 1);
  });
});
