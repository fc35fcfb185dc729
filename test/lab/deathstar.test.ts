import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { EXPLODED, serveDeathstar } from '../../src/lab/deathstar.ts';
import { type ShipMethod, sendShip } from '../../src/lab/ship.ts';
import { eventually } from '../support/process.ts';

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('a deathstar', () => {
  it('lets ships land over both families, and ends when its exhaust port is hit', async () => {
    const port = await freePort();
    const end = new AbortController();
    const served = serveDeathstar(port, end.signal);
    const send = (method: ShipMethod, host: string, path: string) =>
      sendShip(method, `http://${host}:${port}${path}`, 5000);
    await eventually('it answers', async () =>
      (await send('GET', '127.0.0.1', '/v1/')).kind === 'answer' ? true : undefined,
    );
    for (const host of ['127.0.0.1', '[::1]']) {
      const landing = await send('POST', host, '/v1/request-landing');
      assert.deepEqual(landing, { kind: 'answer', status: 200, body: 'Ship landed\n' });
    }
    const missed = await send('POST', '127.0.0.1', '/v1/other');
    assert.ok(missed.kind === 'answer' && missed.status === 404);
    const hit = await send('PUT', '127.0.0.1', '/v1/exhaust-port');
    assert.ok(hit.kind === 'answer' && /deathstar exploded/.test(hit.body));
    assert.equal(await served, EXPLODED);
  });

  it('ends in peace when it is told to', async () => {
    const end = new AbortController();
    const served = serveDeathstar(await freePort(), end.signal);
    setImmediate(() => end.abort());
    assert.equal(await served, 0);
  });
});

describe('a ship', () => {
  it('says that nobody listens', async () => {
    const outcome = await sendShip('GET', `http://127.0.0.1:${await freePort()}/`, 5000);
    assert.deepEqual(outcome, { kind: 'refused', code: 'ECONNREFUSED' });
  });

  it('gives up after its deadline, however far the answer has come', async () => {
    const server = createServer((_, response) => response.write('half'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const outcome = await sendShip('GET', `http://127.0.0.1:${port}/`, 200);
      assert.deepEqual(outcome, { kind: 'timeout', timeoutMs: 200 });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
