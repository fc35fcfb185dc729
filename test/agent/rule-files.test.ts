import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { RuleFiles } from '../../src/agent/rule-files.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { silentLog } from '../../src/base/log.ts';
import { EMPTY_INVENTORY } from '../../src/model/policy-inventory.ts';
import { Repository, readPolicy } from '../../src/policy/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'ciliate-rule-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the rules on disk', () => {
  it('are read again also when many imports made more of them than one text may have', async () => {
    const labels = Array.from({ length: 20 }, (_, i) => ({
      source: 'cidrgroup',
      key: `note-${i}`,
      value: 'x'.repeat(500),
    }));
    const cidrs = [parseCidr('192.0.2.0/24')];
    const cidrGroups = Array.from({ length: 900 }, (_, i) => ({ name: `group-${i}`, labels, cidrs }));
    const rule = '- endpointSelector: {}\n  egress: [{ toCIDRSet: [{ cidrGroupRef: group-7 }] }]\n';
    const repository = Repository.empty();
    repository.add(readPolicy(rule, { file: 'rule' }));
    const files = new RuleFiles(folder, { log: silentLog, now: () => new Date(0) });
    const inventory = { ...EMPTY_INVENTORY, cidrGroups };
    await (await files.stage(repository, inventory)).commit();
    assert.ok(statSync(join(folder, 'policy.json')).size > 8 << 20);
    const loaded = files.load();
    assert.deepEqual([loaded.lost, loaded.damage], [undefined, undefined]);
    assert.equal(loaded.repository.snapshot().rules.length, 1);
    assert.equal(loaded.inventory.cidrGroups.length, 900);
  });
});
