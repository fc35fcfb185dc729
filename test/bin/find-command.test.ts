import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadRegistry } from '../../bin/registry.ts';
import { findCommand, withoutAlias } from '../../bin/run.ts';

const ids = new Set(['config', 'config:get', 'policy:validate', 'bpf:ct:list']);

describe('findCommand', () => {
  it('takes the longest run of words that is a command', () => {
    assert.deepEqual(findCommand(['config', 'get', 'x'], ids), {
      id: 'config:get',
      words: ['config', 'get', 'x'],
      rest: ['x'],
    });
    assert.equal(findCommand(['config', 'x'], ids).id, 'config');
    assert.equal(findCommand(['bpf', 'ct'], ids).id, undefined);
  });

  it('hands flags that stand before the words on, with their values', () => {
    const found = findCommand(['-o', 'json', '--debug', 'bpf', 'ct', 'list', '-n'], ids);
    assert.equal(found.id, 'bpf:ct:list');
    assert.deepEqual(found.rest, ['-o', 'json', '--debug', '-n']);
  });

  it('looks at a few words only, however many arguments follow', () => {
    const files = Array.from({ length: 50_000 }, (_, i) => `file-${i}.yaml`);
    let asked = 0;
    let longest = 0;
    const counting = {
      has(id: string): boolean {
        asked += 1;
        longest = Math.max(longest, id.length);
        return ids.has(id);
      },
    };
    const found = findCommand(['policy', 'validate', ...files], counting);
    assert.equal(found.id, 'policy:validate');
    assert.equal(found.rest.length, files.length);
    assert.ok(asked <= 5, `asked ${asked} times`);
    assert.ok(longest < 100, `joined ${longest} characters`);
  });

  it('looks at as many words as the longest command has', () => {
    for (const id of loadRegistry().keys()) {
      assert.equal(findCommand([...id.split(':'), 'argument'], loadRegistry()).id, id);
    }
  });
});

describe('a topic with flags of its agent', () => {
  it('runs the agent; all else stays as it was written', () => {
    assert.deepEqual(withoutAlias(['health', '--nodes', 'f']), ['health-agent', '--nodes', 'f']);
    assert.deepEqual(withoutAlias(['health', '--nodes=f', '-x']), ['health-agent', '--nodes=f', '-x']);
    const late = ['--node-name', 'n1', '--nodes', 'f'];
    assert.deepEqual(withoutAlias(['health', ...late]), ['health-agent', ...late]);
    for (const argv of [
      ['health'],
      ['health', '--help'],
      ['health', 'status', '--nodes'],
      ['health', '--node', 'f'],
      ['node', '--nodes'],
    ]) {
      assert.equal(withoutAlias(argv), argv);
    }
  });
});
