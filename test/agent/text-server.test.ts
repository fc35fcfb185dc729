import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { TextServer } from '../../src/agent/text-server.ts';

let server: TextServer;
let port: number;
let made = 0;
beforeEach(async () => {
  made = 0;
  server = new TextServer({
    address: { host: '127.0.0.1', port: 0 },
    path: '/metrics',
    hosts: ['n1', 'metrics.example'],
    answer: async () => {
      made++;
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { status: 200, contentType: 'text/plain', body: 'up 1\n' };
    },
  });
  port = await server.start();
});
afterEach(() => server.stop());

/** All that is answered to `text` until the server hangs up. */
function talk(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

describe('TextServer', () => {
  it('answers few requests of one connection, whoever sends thousands, and makes one answer for all', async () => {
    const answer = await talk('GET /metrics HTTP/1.1\r\nhost: n1\r\n\r\n'.repeat(1000));
    assert.equal(answer.split('HTTP/1.1 200').length - 1, 10);
    assert.ok(made <= 2, `${made} answers were made`);
    assert.ok(answer.length < 200_000, `${answer.length} bytes`);
  });

  it('says that an address is not of this machine', async () => {
    const elsewhere = new TextServer({
      address: { host: '192.0.2.77', port: 0 },
      path: '/metrics',
      hosts: [],
      answer: () => assert.fail(),
    });
    await assert.rejects(elsewhere.start(), { code: 'LISTEN_FAILED', hint: /does not have that address/ });
  });

  it('answers by an address, localhost or a name that it was told, and by no other, nor without one', async () => {
    const asked = async (head: string): Promise<string> =>
      /^HTTP\/1\.1 (\d+)/.exec(
        await talk(`GET /metrics HTTP/1.1\r\n${head}connection: close\r\n\r\n`),
      )?.[1] ?? '';
    for (const host of [
      '127.0.0.1',
      `10.0.0.1:${port}`,
      '[fd00::1]:9962',
      'localhost',
      'N1:9962',
      'metrics.example',
    ])
      assert.equal(await asked(`host: ${host}\r\n`), '200', host);
    const before = made;
    for (const host of ['evil.example', 'n1.evil.example', '127.0.0.1.evil.example', 'n1@evil.example', ''])
      assert.equal(await asked(`host: ${host}\r\n`), '421', host);
    assert.match(await talk('GET /metrics HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 421 .*name that is not ours/s);
    assert.equal(made, before, 'nothing was made for the others');
  });

  it('hangs up on a body instead of reading it', async () => {
    const answer = await talk('POST /metrics HTTP/1.1\r\nhost: n1\r\ncontent-length: 1000000000\r\n\r\nxxxx');
    assert.match(answer, /^HTTP\/1\.1 404/);
  });
});
