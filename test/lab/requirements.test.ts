import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { run } from '../../src/base/run.ts';
import { rootOrSkip } from '../support/privilege.ts';

const MODULE = resolve(import.meta.dirname, '../../src/lab/requirements.ts');
const CHILD = `
  import { defaultLabsDir, missingForNamespaces } from ${JSON.stringify(MODULE)};
  console.log(defaultLabsDir(), missingForNamespaces().join());
`;
const NODE = [process.execPath, '--input-type=module', '-e', CHILD];
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];

describe('where a lab is put', { skip: rootOrSkip() }, () => {
  const CASES = [
    ['root', [], /^\/run\/ciliate-lab $/],
    ['another user', NOBODY, /^\/tmp\/ciliate-lab-65534 root \(this is uid 65534\)$/],
    [
      'another user who is root of a user namespace',
      [...NOBODY, 'unshare', '-Ur'],
      /^\/tmp\/ciliate-lab-65534 root of the machine \(this is root of a user namespace only\)$/,
    ],
  ] as const;
  for (const [who, prefix, expected] of CASES) {
    it(`is a folder that ${who} may write`, async () => {
      const result = await run(['env', 'TMPDIR=/tmp', ...prefix, ...NODE], { timeoutMs: 20_000 });
      assert.match(result.stdout.replace('\n', ''), expected, result.stderr);
    });
  }
});
