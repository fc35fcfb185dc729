import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Endpoint } from '../../src/agent/endpoint.ts';
import { L7Sync } from '../../src/agent/l7-sync.ts';
import { noProxy } from '../../src/agent/proxy-part.ts';
import { needsProxy } from '../../src/agent/redirects.ts';
import type { L7Policy, L7SubjectPolicy } from '../../src/model/l7.ts';
import type { ProxyEndpoint } from '../../src/model/proxy-protocol.ts';
import type { Rule } from '../../src/policy/index.ts';
import { PolicyTable } from '../../src/proxy/policy-table.ts';

const TCP = 6;
const CLIENT = { address: '10.0.0.9', port: 40_000 };
const SERVER = { address: '10.0.0.1', port: 80 };

const onlyGet = (subject: number): L7SubjectPolicy => ({
  subject,
  ingress: [
    {
      protocol: TCP,
      firstPort: 80,
      lastPort: 80,
      peers: undefined,
      l7: {
        kind: 'http',
        rules: [{ path: undefined, method: 'GET', host: undefined, headers: [], headerMatches: [] }],
      },
      ruleId: 1,
      ruleName: 'r',
    },
  ],
  egress: undefined,
});

/** An endpoint of identity 100 that was given another one, and a proxy that keeps what it is told. */
class Relabelled {
  readonly endpoint = {
    id: 7,
    identity: { id: 100, labels: [] },
    datapathIdentity: 100 as number | undefined,
    redirects: { ingress: true, egress: false },
    spec: { id: 7, ipv4: SERVER.address, ipv6: undefined, namedPorts: [] },
  };
  wanted: L7Policy = { revision: 1, subjects: [onlyGet(100)] };
  told: { policy: L7Policy; endpoints: readonly ProxyEndpoint[] } | undefined;
  readonly sync = new L7Sync({
    proxy: {
      ...noProxy,
      status: () => ({ state: 'Ok', message: '' }),
      apply: async (policy, endpoints) => {
        this.told = { policy, endpoints };
        return true;
      },
    },
    policy: () => this.wanted,
    endpoints: () => [this.endpoint as unknown as Endpoint],
    isUnknown: () => false,
  });

  /** Directions by which the proxy would judge a request to the endpoint. */
  judgedBy(): number {
    assert.ok(this.told !== undefined);
    const table = new PolicyTable(this.told.policy, this.told.endpoints);
    const flow = table.flow(CLIENT, SERVER, { client: 300, server: 100 } as never);
    return table.views(flow, TCP)?.length ?? -1;
  }
}

describe('what the proxy is told of an endpoint that is relabelled', () => {
  it('is the identity that its policy map is for, until the map is another', async () => {
    const world = new Relabelled();
    await world.sync.settle();
    assert.equal(world.judgedBy(), 1);
    world.endpoint.identity = { id: 101, labels: [] };
    world.wanted = { revision: 2, subjects: [] };
    world.sync.touch();
    await world.sync.settle();
    assert.equal(world.told?.endpoints[0]?.identity, 100);
    assert.equal(world.judgedBy(), 1, 'its requests are judged as before');
  });

  it('is the new one as soon as the map is for that', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const world = new Relabelled();
    world.wanted = { revision: 1, subjects: [onlyGet(100), onlyGet(101)] };
    await world.sync.settle();
    world.endpoint.identity = { id: 101, labels: [] };
    world.endpoint.datapathIdentity = 101;
    world.sync.done();
    t.mock.timers.tick(1_000);
    await world.sync.settle();
    assert.equal(world.told?.endpoints[0]?.identity, 101);
    world.sync.stop();
  });
});

describe('a rule with server names', () => {
  it('needs the proxy as one with requests to judge does, and a plain one does not', () => {
    const ports = [{ port: 443, endPort: undefined, protocol: 'TCP' as const }];
    const rule = (more: object) => ({
      subject: { labels: [], expressions: [] },
      labels: [],
      egress: [{ ports: [{ ports, ...more }] }],
    });
    assert.equal(needsProxy(rule({ serverNames: ['a.org'] }) as unknown as Rule), true);
    assert.equal(needsProxy(rule({}) as unknown as Rule), false);
  });
});
