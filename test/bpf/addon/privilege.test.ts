import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { rootOrSkip } from '../../support/privilege.ts';

const INDEX = new URL('../../../bpf/addon/index.ts', import.meta.url).href;
const NOBODY = 65534;

describe('without privilege', { skip: rootOrSkip() }, () => {
  it('the kernel’s refusal is exit 3 with a remedy', () => {
    const script = `
      const bpf = (await import(${JSON.stringify(INDEX)})).loadBpf();
      process.setgid(${NOBODY});
      process.setuid(${NOBODY});
      try {
        bpf.listIds('map');
      } catch (error) {
        console.log(JSON.stringify({ code: error.code, exitCode: error.exitCode, hint: error.hint, name: error.name }));
      }`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    assert.deepEqual(
      JSON.parse(stdout || '{}'),
      {
        code: 'BPF_EPERM',
        exitCode: 3,
        hint: 'run as root, or with CAP_BPF and CAP_NET_ADMIN',
        name: 'BpfError',
      },
      stderr,
    );
  });
});
