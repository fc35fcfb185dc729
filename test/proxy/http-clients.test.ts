import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runChecked } from '../../src/base/run.ts';
import { httpFilter, httpRule, ingressPolicy, Rig } from './rig.ts';

const POLICY = ingressPolicy([httpFilter([httpRule({ path: '/v1/.*', method: 'POST|GET' })])]);
const BIG = 3_000_000;
const noCurl = existsSync('/usr/bin/curl') ? false : 'needs curl';

describe('curl through the HTTP proxy, before a server of Node', { skip: noCurl }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ciliate-curl-'));
  const big = join(folder, 'big');
  let server: Server;
  let rig: Rig;

  before(async () => {
    writeFileSync(big, Buffer.alloc(BIG));
    server = createServer((request, response) => {
      let size = 0;
      request.on('data', (chunk: Buffer) => {
        size += chunk.length;
      });
      request.on('end', () => response.end(`${request.method} ${request.url} ${size}\n`));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    rig = await new Rig({ dialPort: () => port }).start(POLICY);
  });
  after(async () => {
    await rig.stop();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });

  const cases: readonly (readonly [
    what: string,
    args: readonly string[],
    paths: readonly string[],
    said: string,
  ])[] = [
    ['an allowed POST', ['-X', 'POST'], ['/v1/land'], 'POST /v1/land 0\n'],
    ['a denied PUT', ['-X', 'PUT'], ['/v1/exhaust'], 'Access denied\r\n'],
    [
      'three requests of a connection',
      [],
      ['/v1/a', '/x', '/v1/b'],
      'GET /v1/a 0\nAccess denied\r\nGET /v1/b 0\n',
    ],
    ['HTTP/1.0', ['-0'], ['/v1/a', '/x'], 'GET /v1/a 0\nAccess denied\r\n'],
    ['an upgrade to h2c', ['--http2'], ['/v1/a'], 'GET /v1/a 0\n'],
    [
      'a big body that waits for 100',
      ['-H', 'Expect: 100-continue', '--data-binary', `@${big}`],
      ['/v1/big'],
      `POST /v1/big ${BIG}\n`,
    ],
    [
      'a big chunked body',
      ['-X', 'POST', '-H', 'Transfer-Encoding: chunked', '-T', big],
      ['/v1/big'],
      `POST /v1/big ${BIG}\n`,
    ],
    ['a big denied body', ['-X', 'PUT', '-T', big], ['/x'], 'Access denied\r\n'],
  ];
  for (const [what, args, paths, said] of cases) {
    it(`gets what it should for ${what}`, async () => {
      const urls = paths.map((path) => `http://${rig.address}:18080${path}`);
      assert.equal(
        await runChecked(['curl', '-sS', '-m', '10', ...args, ...urls], { timeoutMs: 15_000 }),
        said,
      );
    });
  }
});
