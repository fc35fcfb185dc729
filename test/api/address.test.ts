import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { agentAddress, formatApiAddress, healthAddress, parseApiAddress } from '../../src/api/address.ts';

describe('the address of an API', () => {
  it('is read from all its forms and written in one', () => {
    const forms: readonly [string, string][] = [
      ['/run/a.sock', 'unix:///run/a.sock'],
      ['unix:///run/a.sock', 'unix:///run/a.sock'],
      ['unix:/run/a.sock', 'unix:///run/a.sock'],
      ['tcp://10.0.0.1:4240', 'tcp://10.0.0.1:4240'],
      ['tcp://[::1]:80', 'tcp://[::1]:80'],
      ['http://node-1:80/', 'tcp://node-1:80'],
    ];
    for (const [text, written] of forms) assert.equal(formatApiAddress(parseApiAddress(text)), written);
  });

  it('is refused when it is none', () => {
    for (const text of [
      '',
      'unix:',
      'unix://',
      'tcp://x',
      'tcp://x:0',
      'tcp://x:65536',
      'ftp://x:1',
      'relative.sock',
    ]) {
      assert.throws(() => parseApiAddress(text), { code: 'BAD_ADDRESS', exitCode: 2 }, text);
    }
  });

  it('comes from the flag, then the environment in its order, then the default', () => {
    const env = {
      CILIATE_SOCK: '/1',
      CILIATE_HOST: 'unix:///2',
      CILIUM_SOCK: '/3',
      CILIUM_HOST: 'tcp://4:4',
    };
    const chosen = (choice: Parameters<typeof agentAddress>[0]): string =>
      formatApiAddress(agentAddress(choice));
    assert.equal(chosen({ host: '/0', env }), 'unix:///0');
    assert.equal(chosen({ env }), 'unix:///1');
    assert.equal(chosen({ env: { ...env, CILIATE_SOCK: '' } }), 'unix:///2');
    assert.equal(chosen({ env: { CILIUM_SOCK: '/3', CILIUM_HOST: 'tcp://4:4' } }), 'unix:///3');
    assert.equal(chosen({ env: { CILIUM_HOST: 'tcp://4:4' } }), 'tcp://4:4');
    assert.equal(chosen({ env: {} }), 'unix:///var/run/ciliate/ciliate.sock');
    assert.equal(chosen({ env: {}, stateDir: '/s' }), 'unix:///s/ciliate.sock');
  });

  it('of the health agent has its own variables', () => {
    const chosen = (env: Record<string, string>): string => formatApiAddress(healthAddress({ env }));
    assert.equal(chosen({ CILIATE_SOCK: '/1' }), 'unix:///var/run/ciliate/health.sock');
    assert.equal(chosen({ CILIATE_HEALTH_SOCK: '/1', CILIUM_HEALTH_SOCK: '/2' }), 'unix:///1');
    assert.equal(chosen({ CILIUM_HEALTH_SOCK: '/2' }), 'unix:///2');
  });
});
