import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { PolicyManager } from '../../src/agent/policy-manager.ts';
import { reservedIdentity } from '../../src/model/identity.ts';
import { managerIn } from './manager-rig.ts';

const RULE = JSON.stringify([
  { endpointSelector: { matchLabels: { 'any:role': 'server' } }, ingress: [{ fromEntities: ['host'] }] },
]);
const HEALTH = 'health';

describe('rules whose files are all corrupt', () => {
  let stateDir = '';
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'ciliate-rules-'));
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  function started(): PolicyManager {
    const manager = managerIn(stateDir);
    manager.load();
    return manager;
  }

  function resolved(manager: PolicyManager): unknown {
    const identity = reservedIdentity(HEALTH);
    assert.ok(identity !== undefined);
    return manager.resolve(identity);
  }

  it('are lost, at this start and at each one after it, until rules are imported', async () => {
    await started().import(RULE, 'rule.json');
    for (const file of ['policy.json', 'policy.backup.json']) writeFileSync(join(stateDir, file), '{');
    for (const start of ['first', 'second', 'third']) {
      const manager = started();
      assert.match(manager.lost ?? '', /set aside/, `${start} start`);
      assert.equal(resolved(manager), undefined, `${start} start`);
    }
    assert.equal(readdirSync(stateDir).filter((name) => name.includes('.corrupt-')).length, 2);
    await started().import(RULE, 'rule.json');
    const after = started();
    assert.equal(after.lost, undefined);
    assert.equal(after.ruleCount, 1);
    assert.notEqual(resolved(after), undefined);
  });

  it('are not lost where there never were any', () => {
    assert.equal(started().lost, undefined);
  });
});
