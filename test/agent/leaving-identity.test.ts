import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { PolicyManager } from '../../src/agent/policy-manager.ts';
import type { Identity } from '../../src/model/identity.ts';
import { managerIn } from './manager-rig.ts';

const identity = (id: number, app: string): Identity => ({
  id,
  labels: [{ source: 'k8s', key: 'app', value: app }],
});
const WEB = identity(300, 'web');
const X = identity(301, 'x');
const RULE = JSON.stringify([
  {
    endpointSelector: { matchLabels: { 'k8s:app': 'web' } },
    ingress: [{ fromEntities: ['all'] }],
    ingressDeny: [{ fromEndpoints: [{ matchLabels: { 'k8s:app': 'x' } }] }],
  },
]);

describe('an identity that the cluster gave up', () => {
  let stateDir = '';
  let manager: PolicyManager;
  /** What the ipcache names, and which endpoints have which identity. */
  let named: Set<number>;
  let endpoints: Map<number, number>;

  beforeEach(async () => {
    stateDir = mkdtempSync(join(tmpdir(), 'ciliate-leaving-'));
    named = new Set([X.id]);
    endpoints = new Map();
    manager = managerIn(stateDir, { named: () => named, endpoints: () => endpoints });
    manager.load();
    await manager.endpointsFound([]);
    manager.updateIdentities({ upserts: [WEB, X] });
    await manager.import(RULE, 'rule.json');
  });
  afterEach(() => {
    manager.stop();
    rmSync(stateDir, { recursive: true, force: true });
  });

  const isDenied = (): boolean =>
    [...(manager.resolve(WEB)?.policy.mapState.values() ?? [])].some(
      ({ key, entry }) => key.identity === X.id && entry.verdict.kind === 'deny',
    );

  it('stays in the policies as long as the ipcache names it', () => {
    manager.resolve(WEB);
    manager.updateIdentities({ deletes: [X.id] });
    assert.equal(isDenied(), true);
    manager.ipcacheWritten();
    assert.equal(isDenied(), true);
    named.clear();
    manager.ipcacheWritten();
    assert.equal(isDenied(), false);
    assert.equal(manager.mayName(X.id), false);
  });

  it('stays as long as an endpoint of this node has it', () => {
    endpoints.set(10, X.id);
    named.clear();
    manager.updateIdentities({ deletes: [X.id] });
    assert.equal(isDenied(), true);
    endpoints.clear();
    manager.ipcacheWritten();
    assert.equal(isDenied(), false);
  });

  it('stays when it is told again before it went', () => {
    manager.updateIdentities({ deletes: [X.id] });
    manager.updateIdentities({ upserts: [X] });
    named.clear();
    manager.ipcacheWritten();
    assert.equal(isDenied(), true);
    assert.equal(manager.mayName(X.id), true);
  });
});
