import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { run } from '../../src/base/run.ts';
import { listenOnUnixSocket } from '../../src/base/unix-socket.ts';
import { asNobody, tempFolder } from '../agent/api/support.ts';
import { whyNoRoot } from '../support/privilege.ts';

function closing(server: Server): AsyncDisposable {
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe('listenOnUnixSocket', () => {
  it('makes the folder and a socket that its group may use', async () => {
    using folder = tempFolder();
    const path = join(folder.path, 'deep', 'er', 'a.sock');
    const server = createServer();
    await using _end = closing(server);
    const mask = process.umask();
    await listenOnUnixSocket(server, { path, groups: [] });
    assert.equal(statSync(path).mode & 0o777, 0o660);
    assert.equal(process.umask(), mask, 'the mask is put back');
  });

  it('gives the socket to the first group that exists', { skip: whyNoRoot() ?? false }, async () => {
    using folder = tempFolder();
    const groupFile = join(folder.path, 'group');
    writeFileSync(groupFile, 'root:x:0:\ncilium:x:4711:\nother:x:4712:\n');
    const path = join(folder.path, 'a.sock');
    const server = createServer();
    await using _end = closing(server);
    await listenOnUnixSocket(server, { path, groupFile });
    assert.equal(statSync(path).gid, 4711);
  });

  it('refuses to take over a socket that somebody answers on, and leaves it working', async () => {
    using folder = tempFolder();
    const path = join(folder.path, 'a.sock');
    const first = createServer();
    await using _end = closing(first);
    await listenOnUnixSocket(first, { path, groups: [] });
    const second = createServer();
    await assert.rejects(
      listenOnUnixSocket(second, { path, groups: [] }),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'SOCKET_IN_USE');
        assert.match(error.message, /a\.sock is in use: somebody answers on it/);
        return true;
      },
    );
    assert.ok(existsSync(path));
  });

  it('replaces a socket that was left behind', async () => {
    using folder = tempFolder();
    const path = join(folder.path, 'a.sock');
    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await run([process.execPath, '-e', script], { timeoutMs: 10_000 });
    assert.ok(existsSync(path), 'a killed process leaves its socket');
    const server = createServer();
    await using _end = closing(server);
    await listenOnUnixSocket(server, { path, groups: [] });
  });

  it('leaves a file alone that is no socket', async () => {
    using folder = tempFolder();
    const path = join(folder.path, 'a.sock');
    writeFileSync(path, 'precious');
    await assert.rejects(listenOnUnixSocket(createServer(), { path }), { code: 'SOCKET_FAILED' });
    assert.equal(statSync(path).size, 8);
  });

  it('says so when the path is too long or its folder a file', async () => {
    using folder = tempFolder();
    const long = join(folder.path, 'x'.repeat(120), 'a.sock');
    await assert.rejects(
      listenOnUnixSocket(createServer(), { path: long }),
      (error: Error & { hint?: string }) => {
        assert.match(error.hint ?? '', /at most 107 bytes/);
        return true;
      },
    );
    writeFileSync(join(folder.path, 'file'), '');
    const path = join(folder.path, 'file', 'a.sock');
    await assert.rejects(listenOnUnixSocket(createServer(), { path }), { code: 'SOCKET_FAILED' });
  });

  it('says so when the folder may not be written', async () => {
    using folder = tempFolder();
    chmodSync(folder.path, 0o711);
    mkdirSync(join(folder.path, 'closed'));
    chmodSync(join(folder.path, 'closed'), 0o511);
    const path = join(folder.path, 'closed', 'a.sock');
    using _nobody = asNobody();
    await assert.rejects(listenOnUnixSocket(createServer(), { path }), {
      code: 'SOCKET_NOT_PERMITTED',
      exitCode: 3,
    });
  });
});
