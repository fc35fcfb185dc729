import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, describe, it } from 'node:test';
import { createResponder } from '../../probes/responder/index.ts';
import { createPeerPaths, pathRoute } from '../../src/health/index.ts';
import { apiBench } from './api-bench.ts';
import { element } from './fakes.ts';

const LOOPBACK = '127.0.0.1';
const servers: Server[] = [];

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
  return (server.address() as AddressInfo).port;
}

after(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

describe("another node's paths over the port of the responder", () => {
  async function responding(own: string, act: (port: number) => Promise<void>): Promise<void> {
    const { clock, health } = apiBench([element('n1', own), element('n2', '10.0.0.2')]);
    await health.start();
    await clock.pass(2500);
    const responder = createResponder({
      listen: [{ kind: 'address', host: LOOPBACK, port: 0 }],
      routes: [pathRoute(health)],
    });
    await responder.start();
    try {
      await act(Number(responder.addresses()[0]?.split(':').at(-1)));
    } finally {
      await responder.stop();
      await health.stop();
    }
  }

  it('are told to a node of the list, as health.sock tells them', async () => {
    await responding(LOOPBACK, async (port) => {
      const paths = await createPeerPaths({ port })(LOOPBACK, 'n2');
      assert.deepEqual(paths.map(({ peer, kind, state }) => [peer, kind, state]).sort(), [
        ['n2', 'host-host/http', 'reachable'],
        ['n2', 'host-host/icmp', 'reachable'],
      ]);
    });
  });

  it('are told to nobody else', async () => {
    await responding('10.0.0.1', async (port) => {
      await assert.rejects(createPeerPaths({ port })(LOOPBACK, 'n2'), {
        code: 'PEER_PATHS',
        message: 'it does not know this node',
      });
    });
  });

  it('of a node that is not in the list are refused', async () => {
    await responding(LOOPBACK, async (port) => {
      await assert.rejects(createPeerPaths({ port })(LOOPBACK, 'n9'), /does not know that node/);
      await assert.rejects(createPeerPaths({ port })(LOOPBACK, 'n'.repeat(2000)), { code: 'PEER_PATHS' });
    });
  });

  const LIES: readonly (readonly [string, string, RegExp])[] = [
    ['what is no JSON', 'paths', /no JSON/],
    ['an object', '{}', /no list of paths/],
    ['a list of others', '[7, null]', /no list of paths/],
    ['a path without a window', '[{"peer":"n2"}]', /no list of paths/],
    ['more than it may', `[${'7,'.repeat(600_000)}7]`, /more than 1048576 bytes/],
  ];
  for (const [name, body, message] of LIES) {
    it(`are not taken from a node that answers ${name}`, async () => {
      const port = await serve((_request, response) => response.end(body));
      await assert.rejects(createPeerPaths({ port })(LOOPBACK, 'n2'), message);
    });
  }

  it('are waited for so long, and not longer', async () => {
    const silent = await serve(() => undefined);
    await assert.rejects(
      createPeerPaths({ port: silent, timeoutMs: 100 })(LOOPBACK, 'n2'),
      /no answer in 100 ms/,
    );
    const dripping = await serve((_request, response) => {
      response.write('[');
    });
    await assert.rejects(
      createPeerPaths({ port: dripping, timeoutMs: 100 })(LOOPBACK, 'n2'),
      /no answer in 100 ms/,
    );
  });

  it('of a node on which nothing listens are refused, and it is said where', async () => {
    const port = await serve(() => undefined);
    const [server] = servers.splice(-1);
    await new Promise((resolve) => server?.close(resolve));
    await assert.rejects(createPeerPaths({ port })(LOOPBACK, 'n2'), {
      message: `connection refused at 127.0.0.1:${port}`,
    });
  });
});
