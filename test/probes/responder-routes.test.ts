import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createResponder, type Responder, type ResponderRoute } from '../../probes/responder/index.ts';
import { createHttpTransport } from '../../src/health/mesh/index.ts';
import { until } from '../support/until.ts';

const PATH = '/v1beta/rows';

describe('routes of the responder', () => {
  let responder: Responder;
  let port = 0;
  let admitted = true;
  let answer: ResponderRoute['answer'];
  const sockets: Socket[] = [];

  beforeEach(async () => {
    admitted = true;
    answer = (remoteAddress, body) => ({ status: 200, body: Buffer.from(`${remoteAddress} ${body.length}`) });
    const route: ResponderRoute = {
      path: PATH,
      bodyBytesMax: 1000,
      admits: () => admitted,
      answer: (remoteAddress, body) => answer(remoteAddress, body),
    };
    responder = createResponder({ listen: [{ kind: 'address', host: '::1', port: 0 }], routes: [route] });
    await responder.start();
    port = Number(responder.addresses()[0]?.split(':').at(-1));
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await responder.stop();
  });

  function send(text: string): { readonly socket: Socket; answer(): string } {
    const socket = connect(port, '::1');
    sockets.push(socket);
    let read = '';
    socket.on('data', (chunk: Buffer) => {
      read += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.write(text);
    return { socket, answer: () => read };
  }

  async function statusOf(head: string): Promise<string> {
    const sent = send(`${head}\r\nHost: x\r\nConnection: close\r\n\r\n`);
    await once(sent.socket, 'close');
    return sent.answer().slice(9, 12);
  }

  it('answer a POST with the address of the other end and what its body was', async () => {
    const sent = send(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde`);
    await until(() => sent.answer().endsWith('::1 5'));
    assert.match(sent.answer(), /^HTTP\/1\.1 200 /);
  });

  it('refuse other methods, strangers, bodies without length and long ones, and read none of them', async () => {
    assert.equal(await statusOf(`GET ${PATH} HTTP/1.1`), '405');
    assert.equal(await statusOf(`POST ${PATH} HTTP/1.1\r\nTransfer-Encoding: chunked`), '411');
    assert.equal(await statusOf(`POST ${PATH} HTTP/1.1\r\nContent-Length: 1001`), '413');
    admitted = false;
    assert.equal(await statusOf(`POST ${PATH} HTTP/1.1\r\nContent-Length: 1`), '403');
    assert.equal(await statusOf('GET /hello HTTP/1.1'), '200');
  });

  it('say 500 when the answer fails, and go on', async () => {
    answer = () => {
      throw new Error('out of order');
    };
    assert.equal(await statusOf(`POST ${PATH} HTTP/1.1\r\nContent-Length: 0`), '500');
    assert.equal(await statusOf('GET /hello HTTP/1.1'), '200');
  });

  it('read sixteen bodies at once, refuse more, and take others when those have gone', async () => {
    const slow = Array.from({ length: 16 }, () => {
      return send(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
    });
    await until(() => slow.every((one) => one.answer().includes('100 Continue')));
    assert.equal(await statusOf(`POST ${PATH} HTTP/1.1\r\nContent-Length: 0`), '503');
    for (const { socket } of slow) socket.destroy();
    const last = send('');
    await until(() => {
      if (last.answer().includes(' 200 ')) return true;
      last.socket.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`);
      return false;
    });
  });

  it('carry messages of rows: answers, refusals, silence and an end in the middle', async () => {
    const transport = createHttpTransport({ port, timeoutMs: 300 });
    const send = () => transport.send('::1', 'news', Buffer.from('abc'));
    assert.equal(String(await send()), '::1 3');
    assert.equal(String(await send()), '::1 3');
    admitted = false;
    await assert.rejects(send(), /status 403/);
    admitted = true;
    answer = () => ({ status: 200, body: Buffer.alloc(5 * 1024 * 1024) });
    await assert.rejects(send(), /more than/);
    await responder.stop();
    await assert.rejects(send(), /ECONNREFUSED/);
    await transport.stop();
    await assert.rejects(send(), /stopped/);
  });
});
