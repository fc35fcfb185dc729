import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { dialFrom, loadSockets } from '../../../src/base/sockets/index.ts';
import { NetnsLab } from '../../support/netns.ts';
import { rootOrSkip } from '../../support/privilege.ts';

const MARK = 0xa00;

describe('connections from the address of somebody else', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('k');
  const sockets = loadSockets();
  let netns = '';
  let server: Server;
  let seen: Socket[] = [];

  async function listen(family: 4 | 6): Promise<{ address: string; port: number }> {
    const address = family === 4 ? '127.0.0.1' : '::1';
    const fd = sockets.openSocket({ family, type: 'stream', netns, bind: { address, port: 0 }, listen: 8 });
    server = createServer((socket) => {
      seen.push(socket);
      socket.pipe(socket);
    }).listen({ fd });
    await once(server, 'listening');
    return { address, port: (server.address() as AddressInfo).port };
  }

  before(async () => {
    const name = await lab.namespace('n');
    netns = lab.path(name);
    // Replies to addresses that are not ours find the socket by the mark, as those of a proxy do.
    for (const family of ['-4', '-6']) {
      await lab.ip('-n', name, family, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100');
      await lab.ip('-n', name, family, 'rule', 'add', 'pref', '1', 'lookup', '100');
    }
  });
  after(() => lab.cleanUp());

  for (const [family, client] of [
    [4, '198.51.100.7'],
    [6, '2001:db8::7'],
  ] as const)
    it(`shows the server of IPv${family} that address and port, and says connect`, async () => {
      const to = await listen(family);
      const socket = dialFrom(sockets, { from: { address: client, port: 4567 }, to, mark: MARK, netns });
      await once(socket, 'connect');
      socket.write('over there');
      const [echo] = await once(socket, 'data');
      assert.equal(String(echo), 'over there');
      assert.equal(seen[0]?.remoteAddress, client);
      assert.equal(seen[0]?.remotePort, 4567);
      const again = dialFrom(sockets, { from: { address: client, port: 4567 }, to, mark: MARK, netns });
      const [error] = await once(again, 'error');
      assert.match(error.code, /EADDRNOTAVAIL/);
      const other = dialFrom(sockets, { from: { address: client, port: 0 }, to, mark: MARK, netns });
      await once(other, 'connect');
      for (const open of [socket, other, ...seen]) open.destroy();
      seen = [];
      server.close();
    });

  it('says error when nobody listens, and when the address cannot be bound', async () => {
    const from = { address: '198.51.100.7', port: 4568 };
    const refused = dialFrom(sockets, { from, to: { address: '127.0.0.1', port: 9 }, mark: MARK, netns });
    const [error] = await once(refused, 'error');
    assert.equal(error.code, 'ECONNREFUSED');
    const nowhere = dialFrom(sockets, { from, to: { address: '::1', port: 9 }, mark: MARK, netns });
    const [wrong] = await once(nowhere, 'error');
    assert.equal(wrong.code, 'SOCKET_ARGUMENT');
  });

  it('lets either side go on sending after the other has ended', async () => {
    const to = await listen(4);
    const socket = dialFrom(sockets, { from: undefined, to, mark: MARK, netns });
    await once(socket, 'connect');
    socket.end('last words');
    const [echo] = await once(socket, 'data');
    assert.equal(String(echo), 'last words');
    socket.destroy();
    for (const open of seen) open.destroy();
    server.close();
  });
});
