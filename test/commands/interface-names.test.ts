import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { interfaceNames, namesInNamespaceOf } from '../../commands/support/interface-names.ts';
import type { Source } from '../../src/api/source.ts';
import { SourceError } from '../../src/api/source-error.ts';

function source(endpoints: Source['endpoints']): Source {
  return { endpoints } as unknown as Source;
}

const answer = async () => [
  { id: 1, status: { state: 'ready', networking: { 'interface-index': 4711, 'interface-name': 'lxc1' } } },
];

describe('names of interfaces', () => {
  it('are those of the namespace of a process', async () => {
    const names = await namesInNamespaceOf(process.pid);
    assert.ok(Object.hasOwn(networkInterfaces(), 'lo') ? [...names.values()].includes('lo') : true);
    assert.deepEqual(await namesInNamespaceOf(2 ** 22 + 1), new Map(), 'no process has that id');
  });

  it("are the agent's for its endpoints, its namespace's for the rest, and else unknown", async () => {
    const name = await interfaceNames(source(answer), process.pid);
    assert.equal(name(4711), 'lxc1');
    const [index = 0, own] = [...(await namesInNamespaceOf(process.pid))][0] ?? [];
    assert.equal(name(index), own);
    assert.equal(name(999_999), undefined);
  });

  it('are unknown, and no error, while the agent does not answer', async () => {
    const away = async (): Promise<never> => {
      throw new SourceError('away', { code: 'SOURCE_UNREACHABLE' });
    };
    assert.equal((await interfaceNames(source(away), undefined))(1), undefined);
  });
});
