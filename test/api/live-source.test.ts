import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { build } from 'esbuild';
import { createLiveSource, liveClients } from '../../src/api/live-source.ts';
import { packageRoot } from '../../src/base/assets.ts';
import { startServer, tempFolder } from '../agent/api/support.ts';

describe('a live source', () => {
  it('asks the agent, the health agent and the map reader, each for its own', async () => {
    await using server = await startServer();
    using folder = tempFolder();
    const healthSocket = join(folder.path, 'health.sock');
    const health = createServer((req, res) =>
      res.end(req.url === '/v1beta/status' ? '{"nodes":[]}' : 'up 1\n'),
    );
    await new Promise<void>((resolve) => health.listen(healthSocket, resolve));
    try {
      const env = { CILIATE_SOCK: server.socketPath, CILIATE_HEALTH_SOCK: healthSocket };
      const source = createLiveSource({
        ...liveClients({ env }),
        maps: {
          names: async () => ['ipcache'],
          async *entries(name) {
            yield { key: { name }, value: { n: 1n } };
          },
        },
      });
      assert.equal(source.name, `unix://${server.socketPath}`);
      assert.equal((await source.healthz()).cilium?.state, 'Ok');
      assert.deepEqual(await source.endpoints(), []);
      assert.deepEqual(await source.nodes(), [{ name: 'n1' }]);
      assert.deepEqual(await source.healthStatus(), { nodes: [] });
      assert.equal(await source.metrics('agent'), 'x 1\n');
      assert.equal(await source.metrics('health'), 'up 1\n');
      assert.deepEqual(await source.bpfMaps(), ['ipcache']);
      for await (const entry of source.bpfEntries('ipcache')) {
        assert.deepEqual(entry, { key: { name: 'ipcache' }, value: { n: 1n } });
      }
    } finally {
      health.closeAllConnections();
      await new Promise((resolve) => health.close(resolve));
    }
  });

  it('loads neither the schemas nor any package: a command starts in the time of a bare request', async () => {
    const { metafile } = await build({
      entryPoints: [join(packageRoot(), 'src/api/live-source.ts')],
      bundle: true,
      write: false,
      metafile: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
    });
    const inputs = Object.keys(metafile.inputs);
    assert.deepEqual(
      inputs.filter((file) => file.includes('/schema') || file.includes('/contract')),
      [],
    );
    const outside = Object.values(metafile.inputs).flatMap((input) =>
      input.imports.filter((entry) => entry.external),
    );
    assert.deepEqual(
      outside.map((entry) => entry.path).filter((path) => !path.startsWith('node:')),
      [],
    );
  });
});
