import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { HealthMtu } from '../../src/api/schema.ts';
import { HealthMesh } from '../support/health-mesh.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { cli, type Outcome } from './cli.ts';

const WAIT = { timeoutMs: 60_000, everyMs: 500 };

describe('health mtu on two nodes', { skip: rootOrSkip() }, () => {
  let mesh: HealthMesh | undefined;

  before(async () => {
    mesh = await HealthMesh.start({ nodes: 2 });
    await mesh.measured();
  });
  after(() => mesh?.stop());

  function mtu(...words: string[]): Promise<Outcome> {
    assert.ok(mesh);
    return cli(['health', 'mtu', ...words, '--state-dir', dirname(mesh.node('n1').socket)]);
  }

  it('exits 0 while all sizes pass, and 1 once long packets vanish without a word, which it says first', async () => {
    const well = await eventually(
      'the largest packet is known',
      async () => {
        const outcome = await mtu();
        return /^n2 .* 1500 +ok/m.test(outcome.stdout) ? outcome : undefined;
      },
      WAIT,
    );
    assert.deepEqual([well.code, well.stderr], [0, '']);
    assert.ok(mesh);
    // A bridge lets fall what is too long for the device beyond, and tells nobody.
    await mesh.lab.ip('-n', mesh.hub, 'link', 'set', 'pn2', 'mtu', '1300');
    const hole = await eventually(
      'the black hole is found',
      async () => {
        const outcome = await mtu('--node', 'n2');
        return outcome.code === 0 ? undefined : outcome;
      },
      WAIT,
    );
    assert.deepEqual([hole.code, hole.stderr], [1, '']);
    const [, first = ''] = hole.stdout.split('\n');
    assert.match(first, /^n2 .*black hole/i, hole.stdout);
    const json = await mtu('-o', 'json');
    assert.equal(json.code, 1);
    const paths = (JSON.parse(json.stdout) as HealthMtu).paths ?? [];
    assert.ok(paths.some((path) => path.peer === 'n2' && path['black-hole']));
  });
});
