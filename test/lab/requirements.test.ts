import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { run } from '../../src/base/run.ts';
import { asNobody, rootOrSkip } from '../support/privilege.ts';

const MODULE = resolve(import.meta.dirname, '../../src/lab/requirements.ts');
const CHILD = `
  import { defaultLabsDir, missingForNamespaces } from ${JSON.stringify(MODULE)};
  console.log(defaultLabsDir(), missingForNamespaces().join());
`;
const NODE = [process.execPath, '--input-type=module', '-e', CHILD];

describe('where a lab is put', { skip: rootOrSkip() }, () => {
  const CASES = [
    ['root', NODE, /^\/run\/ciliate-lab $/],
    [
      'another user',
      asNobody(['env', 'TMPDIR=/tmp', ...NODE]),
      /^\/tmp\/ciliate-lab-65534 root \(this is uid 65534\)$/,
    ],
    [
      'another user who is root of a user namespace',
      asNobody(['env', 'TMPDIR=/tmp', 'unshare', '-Ur', ...NODE]),
      /^\/tmp\/ciliate-lab-65534 root of the machine \(this is root of a user namespace only\)$/,
    ],
  ] as const;
  for (const [who, argv, expected] of CASES) {
    it(`is a folder that ${who} may write`, async (t) => {
      const result = await run(argv, { timeoutMs: 20_000 });
      if (result.stderr.startsWith('unshare: unshare failed: Operation not permitted')) {
        t.skip('user namespaces are not permitted here');
        return;
      }
      assert.match(result.stdout.replace('\n', ''), expected, result.stderr);
    });
  }
});
