import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TSchema } from 'typebox';
import { Check, Errors } from 'typebox/value';
import { AgentClient } from '../../src/api/client.ts';
import type { AgentOperations } from '../../src/api/operations.ts';
import type * as Api from '../../src/api/schema.ts';
import { requestText, startServer } from '../agent/api/support.ts';
import { answerSchema, type Recorded, recordedByAgent, recordedForClients } from './recorded.ts';

/** An agent that answers what was recorded, by path. */
function replay(recordings: readonly Recorded[]): Partial<AgentOperations> {
  const at = <T>(path: string): T => recordings.find((recorded) => recorded.path === path)?.body as T;
  const id = (ref: object): string => ('id' in ref ? String(ref.id) : '');
  return {
    healthz: async () => at('/healthz'),
    getConfig: async () => at('/config'),
    listEndpoints: async () => at('/endpoint'),
    getEndpoint: async (ref) => at(`/endpoint/${id(ref)}`),
    getEndpointConfig: async (ref) => at(`/endpoint/${id(ref)}/config`),
    getEndpointLabels: async (ref) => at(`/endpoint/${id(ref)}/labels`),
    getEndpointLog: async (ref) => at(`/endpoint/${id(ref)}/log`),
    getEndpointHealth: async (ref) => at(`/endpoint/${id(ref)}/healthz`),
    listIdentities: async () => at('/identity'),
    getIdentity: async (number) => at(`/identity/${number}`),
    listIdentityEndpoints: async () => at('/identity/endpoints'),
    getPolicy: async () => at('/policy'),
    getPolicySelectors: async () => at('/policy/selectors'),
    listFqdnCache: async () => at('/fqdn/cache'),
    getFqdnNames: async () => at('/fqdn/names'),
    listIps: async () => at('/ip'),
    listNodes: async () => {
      const status = at<Api.ClusterNodeStatus>('/cluster/nodes');
      return { self: status.self ?? '', nodes: status['nodes-added'] ?? [] };
    },
    listNodeIds: async () => at('/node/ids'),
    listMaps: async () => at('/map'),
    getMap: async (name) => at(`/map/${name}`),
    listServices: async () => at('/service'),
    getDebugInfo: async () => at('/debuginfo'),
  };
}

/** Every member of `part` is in `whole`, with its value; a list also in its order. */
function assertContains(whole: unknown, part: unknown, at: string): void {
  if (Array.isArray(part)) {
    assert.ok(Array.isArray(whole), at);
    assert.equal(whole.length, part.length, at);
    part.forEach((item, i) => {
      assertContains(whole[i], item, `${at}[${i}]`);
    });
  } else if (typeof part === 'object' && part !== null) {
    for (const [key, member] of Object.entries(part)) {
      assertContains((whole as Record<string, unknown>)[key], member, `${at}.${key}`);
    }
  } else if (part !== null) {
    assert.deepEqual(whole, part, at);
  }
}

describe('the API beside the recordings', () => {
  const sets: readonly [string, readonly Recorded[]][] = [
    [
      'a real 1.19 agent',
      recordedByAgent().filter((recorded) => recorded.source !== 'api-healthz-brief.json'),
    ],
    ['what drove both command lines', recordedForClients('agent-responses.json')],
  ];
  for (const [name, recordings] of sets) {
    it(`serves everything of ${name} unchanged, with the objects that clients need`, async () => {
      await using server = await startServer(replay(recordings));
      let served = 0;
      for (const recorded of recordings) {
        const schema: TSchema | undefined = answerSchema(recorded.path);
        if (schema === undefined) continue;
        const answer = await server.raw(requestText('GET', `/v1${recorded.path}`));
        assert.equal(answer.status, 200, `${recorded.path}: ${answer.body}`);
        const body: unknown = JSON.parse(answer.body);
        assertContains(body, recorded.body, recorded.path);
        assert.ok(
          Check(schema, body),
          `${recorded.path}: ${JSON.stringify(Errors(schema, body).slice(0, 2))}`,
        );
        served += 1;
      }
      assert.ok(served >= 15, `only ${served} were served`);
      assert.deepEqual(server.errors, []);
    });
  }

  it('answers requests as real clients write them', async () => {
    await using server = await startServer(replay(recordedForClients('agent-responses.json')));
    const agent19 = 'User-Agent: Go-http-client/1.1\r\nAccept: application/json\r\nConnection: close\r\n';
    const withBody = (body: string): string =>
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const requests: readonly [string, string][] = [
      [
        '1.19 healthz',
        `GET /v1/healthz HTTP/1.1\r\nHost: localhost\r\n${agent19}brief: true\r\nrequire-k8s-connectivity: true\r\n\r\n`,
      ],
      ['1.19 endpoint list', `GET /v1/endpoint HTTP/1.1\r\nHost: localhost\r\n${agent19}\r\n`],
      ['1.19 node list', `GET /v1/cluster/nodes HTTP/1.1\r\nHost: localhost\r\n${agent19}\r\n`],
      [
        '1.19 chunked filter',
        `GET /v1/identity HTTP/1.1\r\nHost: localhost\r\n${agent19}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n["a"]\n\r\n0\r\n\r\n`,
      ],
      [
        '2018 empty Host, null filter',
        `GET /v1/endpoint HTTP/1.1\r\nHost: \r\n${agent19}${withBody('null\n')}`,
      ],
      [
        '2018 socket path as Host, [] filter',
        `GET /v1/identity HTTP/1.1\r\nHost: /var/run/cilium/cilium.sock\r\n${agent19}${withBody('[]\n')}`,
      ],
      [
        '2018 percent-encoded Host',
        `GET /v1/ip HTTP/1.1\r\nHost: %2Fvar%2Frun%2Fcilium%2Fcilium.sock\r\n${agent19}${withBody('[]\n')}`,
      ],
      ['2018 policy get', `GET /v1/policy HTTP/1.1\r\nHost: \r\n${agent19}${withBody('null\n')}`],
      ['no Host at all', `GET /v1/config HTTP/1.1\r\n${agent19}\r\n`],
      ['HTTP/1.0', 'GET /v1/debuginfo HTTP/1.0\r\n\r\n'],
    ];
    for (const [what, text] of requests) {
      const answer = await server.raw(text);
      assert.equal(answer.status, 200, `${what}: ${answer.body}`);
      assert.equal(answer.headers.get('content-type'), 'application/json', what);
    }
  });

  it('answers what status asks of the state database', async () => {
    await using server = await startServer();
    const query = (body: object): Buffer => requestText('GET', '/statedb/query', JSON.stringify(body));
    const health = await server.raw(
      query({ table: 'health', index: 'identifier', key: 'YWdlbnQ=', lowerbound: true }),
    );
    assert.deepEqual([health.status, health.body], [200, '']);
    const other = await server.raw(query({ table: 'devices' }));
    assert.deepEqual([other.status, other.body], [404, JSON.stringify('no table "devices"')]);
    const wrong = await server.raw(query({ table: 5 }));
    assert.deepEqual([wrong.status, wrong.body], [400, '"query.table: expected string, got number"']);
    assert.equal((await server.raw(requestText('GET', '/statedb/query'))).status, 400);
  });

  it('is read back by our own client', async () => {
    const recordings = recordedForClients('agent-responses.json');
    await using server = await startServer(replay(recordings));
    const client = new AgentClient({ address: { kind: 'unix', path: server.socketPath } });
    const body = (path: string): unknown => recordings.find((recorded) => recorded.path === path)?.body;
    assertContains(await client.healthz(), body('/healthz'), 'healthz');
    assertContains(await client.endpoints(), body('/endpoint'), 'endpoint');
    assertContains(await client.identity(9270), body('/identity/9270'), 'identity');
    assertContains(await client.maps(), body('/map'), 'map');
    assertContains(await client.map('cilium_lxc'), body('/map/cilium_lxc'), 'map');
    assertContains(
      await client.nodes(),
      (body('/cluster/nodes') as Api.ClusterNodeStatus)['nodes-added'],
      'nodes',
    );
    assert.equal(await client.metrics(), 'x 1\n');
  });
});
