import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Identity, RESERVED_IDENTITIES } from '../../src/model/identity.ts';
import type { L7Rules } from '../../src/model/l7.ts';
import { labelSet, parseLabels } from '../../src/model/labels.ts';
import { EMPTY_INVENTORY } from '../../src/model/policy-inventory.ts';
import { makeSelector } from '../../src/model/selector.ts';
import { type Impact, type ImpactFlow, policyImpact, Repository, type Rule } from '../../src/policy/index.ts';

const identity = (id: number, app: string): Identity => ({
  id,
  labels: labelSet(parseLabels([`k8s:app=${app}`])),
});
const WEB = identity(1001, 'web');
const SHOP = identity(1002, 'shop');
const SPY = identity(1003, 'spy');

function allow(peer: string, port: number, labels: string): Rule {
  const selector = makeSelector([{ source: 'any', key: 'app', value: peer }]);
  return {
    subject: makeSelector([{ source: 'any', key: 'app', value: 'web' }]),
    ingress: [
      {
        peers: { kind: 'endpoints', selectors: [selector] },
        ports: [{ ports: [{ port, endPort: undefined, protocol: 'TCP' }] }],
      },
    ],
    egress: undefined,
    labels: parseLabels([labels]),
    description: undefined,
  };
}

function flow(peer: Identity, port = 80): ImpactFlow {
  const l4 = { kind: 'port', protocol: 6, port } as const;
  return {
    endpoint: 7,
    direction: 'ingress',
    peer: { title: `id ${peer.id}`, identity: peer.id },
    l4,
    count: 3,
    lastSeen: '',
  };
}

function impact(before: readonly Rule[], added: readonly Rule[], flows: readonly ImpactFlow[] = []): Impact {
  const repository = Repository.empty();
  repository.add(before);
  const now = repository.snapshot();
  repository.upsert(added);
  return policyImpact({
    before: { snapshot: now, inventory: EMPTY_INVENTORY },
    after: { snapshot: repository.snapshot(), inventory: EMPTY_INVENTORY },
    endpoints: [
      { id: 7, identity: WEB, namedPorts: [] },
      { id: 8, identity: SHOP, namedPorts: [] },
    ],
    identities: [...RESERVED_IDENTITIES, WEB, SHOP, SPY],
    flows,
    options: { mode: 'default', allowLocalhost: 'always', clusterName: 'default' },
  });
}

describe('policyImpact', () => {
  it('shows that a first rule switches enforcement on, and cuts off who is not in it', () => {
    const result = impact([], [allow('shop', 80, 'a=1')], [flow(SHOP), flow(SPY), flow(SHOP, 81)]);
    assert.deepEqual(
      result.endpoints.map(({ endpoint, before, after }) => [endpoint, before.ingress, after.ingress]),
      [[7, false, true]],
    );
    assert.deepEqual(
      result.flows.map((one) => [one.peer, one.before, one.after]),
      [
        ['id 1003', 'allowed', 'denied'],
        ['id 1002', 'allowed', 'denied'],
      ],
    );
    assert.equal(result.flowsSeen, 3);
    assert.equal(result.cutsOff, true);
  });

  it('counts the entries of a rule that takes the place of another, and names the rule that lets a flow in', () => {
    const before = [allow('shop', 80, 'a=1')];
    const result = impact(before, [allow('spy', 80, 'a=2')], [flow(SPY)]);
    assert.deepEqual([result.rulesAdded, result.rulesRemoved], [1, 0]);
    assert.deepEqual(
      result.endpoints.map((one) => [one.entriesGained, one.entriesLost]),
      [[1, 0]],
    );
    assert.deepEqual(
      result.flows.map((one) => [one.after, one.rules]),
      [['allowed', ['unspec:a=2']]],
    );
    assert.equal(result.cutsOff, false);
    const replaced = impact(before, [allow('spy', 80, 'a=1')], [flow(SHOP)]);
    assert.deepEqual([replaced.rulesAdded, replaced.rulesRemoved], [1, 1]);
    assert.deepEqual(
      replaced.endpoints.map((one) => [one.entriesGained, one.entriesLost]),
      [[1, 1]],
    );
    assert.equal(replaced.cutsOff, true);
  });

  it('finds no change in the same rule again, nor in one for others', () => {
    const before = [allow('shop', 80, 'a=1')];
    const same = impact(before, [allow('shop', 80, 'a=1')], [flow(SHOP), flow(SPY)]);
    // The entry carries the number of the new rule, which is no change of what passes.
    assert.deepEqual([same.endpoints, same.flows, same.cutsOff], [[], [], false]);
    const subject = makeSelector([{ source: 'any', key: 'app', value: 'nobody' }]);
    assert.deepEqual(impact(before, [{ ...allow('x', 1, 'b=1'), subject }], [flow(SHOP)]).endpoints, []);
  });

  it('keeps the identity of a prefix that both rule sets name', () => {
    const cidr = { family: 4, bytes: Uint8Array.of(192, 0, 2, 0), length: 24 } as const;
    const open: Rule = {
      ...allow('shop', 80, 'c=1'),
      ingress: [{ peers: { kind: 'cidrs', cidrs: [cidr] }, ports: undefined }],
    };
    const result = impact([open], [allow('shop', 80, 'a=1')]);
    assert.deepEqual(
      result.endpoints.map((one) => [one.entriesGained, one.entriesLost]),
      [[1, 0]],
    );
  });

  it('tells that other requests pass, where the ports stay as they were', () => {
    const withPath = (path: string): Rule => {
      const http = { path, method: undefined, host: undefined, headers: [], headerMatches: [] };
      const rule = allow('shop', 80, 'a=1');
      const ports = rule.ingress?.[0]?.ports?.[0]?.ports ?? [];
      const l7 = { kind: 'http', rules: [http] } as const;
      return { ...rule, ingress: [{ peers: undefined, ports: [{ ports, l7 }] }] };
    };
    const result = impact([withPath('/a')], [withPath('/b')], [flow(SHOP)]);
    assert.deepEqual(
      result.endpoints.map((one) => [one.entriesGained, one.entriesLost, one.requestsChanged]),
      [[0, 0, true]],
    );
    assert.deepEqual(impact([withPath('/a')], [withPath('/a')]).endpoints, []);
  });

  it('denies every flow of an endpoint whose rules would contradict each other, and says why', () => {
    const withL7 = (l7: L7Rules, label: string): Rule => {
      const rule = allow('shop', 80, label);
      const ports = rule.ingress?.[0]?.ports?.[0]?.ports ?? [];
      return { ...rule, ingress: [{ peers: undefined, ports: [{ ports, l7 }] }] };
    };
    const http = withL7({ kind: 'http', rules: [] }, 'a=1');
    const result = impact([http], [withL7({ kind: 'kafka', rules: [] }, 'b=1')], [flow(SHOP)]);
    assert.match(result.endpoints[0]?.locked ?? '', /http|kafka/);
    assert.deepEqual(
      result.flows.map(({ before, after }) => [before, after]),
      [['redirected', 'denied']],
    );
    assert.match(result.flows[0]?.reason ?? '', /^nothing passes: /);
  });

  it('judges a request that was seen by the rules of its peer and port', () => {
    const withPath = (path: string, label: string): Rule => {
      const http = { path, method: undefined, host: undefined, headers: [], headerMatches: [] };
      const rule = allow('shop', 80, label);
      const [item] = rule.ingress ?? [];
      const ports = item?.ports?.[0]?.ports ?? [];
      return {
        ...rule,
        ingress: [{ ...item, peers: item?.peers, ports: [{ ports, l7: { kind: 'http', rules: [http] } }] }],
      };
    };
    const asks = (path: string, allowed: boolean): ImpactFlow => ({
      ...flow(SHOP),
      request: {
        title: `GET ${path}`,
        allowed,
        judge: (filters) =>
          filters.some(
            ({ l7 }) => l7 === undefined || (l7.kind === 'http' && l7.rules.some((one) => one.path === path)),
          ),
      },
    });
    const seen = [asks('/a', true), asks('/b', false)];
    const verdicts = (before: readonly Rule[], added: readonly Rule[]) =>
      impact(before, added, seen).flows.map((one) => [one.request, one.before, one.after, one.rules]);
    assert.deepEqual(verdicts([withPath('/a', 'a=1')], [withPath('/b', 'a=1')]), [
      ['GET /a', 'allowed', 'denied', ['unspec:a=1']],
      ['GET /b', 'denied', 'allowed', ['unspec:a=1']],
    ]);
    assert.deepEqual(verdicts([withPath('/a', 'a=1')], [withPath('/b', 'b=1')]), [
      ['GET /b', 'denied', 'allowed', ['unspec:a=1', 'unspec:b=1']],
    ]);
    assert.deepEqual(verdicts([withPath('/a', 'a=1')], [withPath('/a', 'a=1')]), []);
  });

  it('takes addresses outside by the longest prefix that rules name, whatever number the agent gave it', () => {
    const to = (length: number, label: string): Rule => ({
      ...allow('shop', 80, label),
      ingress: [
        {
          peers: { kind: 'cidrs', cidrs: [{ family: 4, bytes: Uint8Array.of(192, 0, 2, 0), length }] },
          ports: undefined,
        },
      ],
    });
    const from = (last: number): ImpactFlow => {
      const address = { family: 4, bytes: Uint8Array.of(192, 0, 2, last), length: 32 } as const;
      return { ...flow(SHOP), peer: { title: `.${last}`, identity: 1 << 24, address } };
    };
    const result = impact([to(24, 'a=1')], [to(25, 'a=1')], [from(1), from(200)]);
    assert.deepEqual(
      result.flows.map((one) => [one.peer, one.before, one.after]),
      [['.200', 'allowed', 'denied']],
    );
  });

  it('counts flows with peers that are gone, and says nothing of them', () => {
    const result = impact([], [allow('shop', 80, 'a=1')], [{ ...flow(SPY), peer: undefined }]);
    assert.deepEqual([result.flows, result.flowsSeen, result.flowsUnjudged], [[], 1, 1]);
  });
});
