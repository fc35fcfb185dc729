import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { openStateFolder } from '../../src/agent/state-folder.ts';
import { lockState } from '../../src/agent/state-lock.ts';
import { writeFileAtomically } from '../../src/base/atomic-file.ts';
import { createLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { ensurePrivateFile } from '../../src/base/private-file.ts';
import { LocalStore } from '../../src/store/index.ts';

let folder: string;
let umask: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ciliate-private-'));
  umask = process.umask(0);
});
afterEach(() => {
  process.umask(umask);
  rmSync(folder, { recursive: true, force: true });
});

const mode = (name: string): string => (statSync(join(folder, name)).mode & 0o777).toString(8);

describe('files of the agent', () => {
  it('are not for others, whatever the mask: lock and store not even to read, since readers can hold locks', async () => {
    const release = lockState(folder, join(folder, 'agent.pid'));
    const store = new LocalStore(
      { path: join(folder, 'store.db') },
      { log: { info: () => undefined, warn: () => undefined } },
    );
    await store.start();
    await store.putNode({ name: 'n' } as never);
    createLog({ level: 'info', stdout: false, file: join(folder, 'agent.log') }).info({}, 'line');
    writeFileAtomically(join(folder, 'state.json'), '{}');
    const names = ['agent.lock', 'store.db', 'store.db-wal', 'store.db-shm', 'agent.log', 'state.json'];
    assert.deepEqual(names.map(mode), ['600', '600', '600', '600', '640', '640']);
    await store.stop();
    release();
  });

  it('lose the rights that an earlier version gave away', () => {
    const path = join(folder, 'old');
    writeFileSync(path, 'kept');
    chmodSync(path, 0o644);
    ensurePrivateFile(path);
    assert.deepEqual([mode('old'), readFileSync(path, 'utf8')], ['600', 'kept']);
  });

  it('are never written through a link', () => {
    writeFileSync(join(folder, 'victim'), 'kept');
    symlinkSync(join(folder, 'victim'), join(folder, 'state.json.new'));
    assert.throws(() => writeFileAtomically(join(folder, 'state.json'), 'x'), { code: 'STATE_UNWRITABLE' });
    assert.equal(readFileSync(join(folder, 'victim'), 'utf8'), 'kept');
  });

  it('are not made in a folder that everybody may write', () => {
    chmodSync(folder, 0o777);
    assert.throws(() => openStateFolder(nodePaths(folder, join(folder, 'bpf'))), { code: 'STATE_FOREIGN' });
  });
});
