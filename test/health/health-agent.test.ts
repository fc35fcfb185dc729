import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { HealthClient } from '../../src/api/health-client.ts';
import type { HealthStatusResponse } from '../../src/api/schema.ts';
import { packageRoot } from '../../src/base/assets.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { element } from './fakes.ts';

const MAIN = join(packageRoot(), 'bin', 'main.ts');

interface Running {
  readonly child: ChildProcess;
  readonly folder: string;
  readonly client: HealthClient;
  readonly output: () => string;
}

function reachable(status: HealthStatusResponse, name: string, kind: 'host' | 'health-endpoint'): boolean {
  const path = status.nodes?.find((node) => node.name === name)?.[kind]?.['primary-address'];
  return path?.icmp?.latency !== undefined && path.http?.latency !== undefined;
}

/** Run inside a namespace: Debian's smallest installation has no curl. */
const FETCH_METRICS =
  "require('node:http').get('http://127.0.0.1:9963/metrics', (answer) => answer.pipe(process.stdout))";

describe('health agents of two nodes', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('h');
  const folder = mkdtempSync(join(tmpdir(), 'health-'));
  const running: Running[] = [];
  let spaces: readonly [string, string] = ['', ''];
  let agent: Server | undefined;
  const nodes = [element('n1', '10.6.0.1'), element('n2', '10.6.0.2', '10.7.0.2')];

  before(async () => {
    spaces = [await lab.namespace('a'), await lab.namespace('b')];
    const [a, b] = spaces;
    await lab.veth(
      { name: 'eth0', netns: a, addresses: ['10.6.0.1/24'] },
      { name: 'eth0', netns: b, addresses: ['10.6.0.2/24'] },
    );
    // The health endpoint of n2: a namespace of its own behind it.
    const endpoint = await lab.namespace('e');
    await lab.veth(
      { name: 'eth1', netns: b, addresses: ['10.7.0.1/24'] },
      { name: 'eth0', netns: endpoint, addresses: ['10.7.0.2/24'] },
    );
    await lab.ip('-n', endpoint, 'route', 'add', 'default', 'via', '10.7.0.1');
    await lab.ip('-n', a, 'route', 'add', '10.7.0.0/24', 'via', '10.6.0.2');
    await lab.sysctl(b, 'net.ipv4.ip_forward=1');
  });

  after(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    agent?.close();
    agent?.closeAllConnections();
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });

  function listener(netns: string, address: string): number {
    const bind = { address, port: 4240 };
    return loadSockets().openSocket({ family: 4, type: 'stream', netns: lab.path(netns), bind, listen: 64 });
  }

  /** Starts a health agent in a namespace, its listening sockets passed on as descriptors, as the agent does. */
  function start(
    name: string,
    netns: string,
    listeners: readonly number[],
    words: readonly string[],
  ): Running {
    const state = join(folder, name);
    const fds = listeners.flatMap((_, i) => ['--listen-fd', String(3 + i)]);
    const argv = [`--net=${lab.path(netns)}`, process.execPath, MAIN, 'health-agent', '--node-name', name];
    const child = spawn('nsenter', [...argv, '--state-dir', state, '--interval', '500ms', ...fds, ...words], {
      stdio: ['ignore', 'pipe', 'pipe', ...listeners],
    });
    for (const fd of listeners) closeSync(fd);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (text += String(chunk)));
    const client = new HealthClient({ address: { kind: 'unix', path: join(state, 'health.sock') } });
    const one = { child, folder: state, client, output: () => text };
    running.push(one);
    return one;
  }

  it('measure each other and the health endpoint, survive the agent, and stop cleanly', async () => {
    const [a, b] = spaces;
    const socket = join(folder, 'agent.sock');
    let asked = 0;
    agent = createServer((request, response) => {
      response.setHeader('content-type', 'application/json');
      if (request.url === '/v1/healthz') {
        response.end(JSON.stringify({ cilium: { state: 'Ok', msg: 'fine' } }));
        return;
      }
      asked++;
      const id = Number(request.headers['client-id']);
      const added = id === 7 ? [] : nodes;
      response.end(
        JSON.stringify({ self: 'n1', 'client-id': 7, 'nodes-added': added, 'nodes-removed': null }),
      );
    });
    agent.listen(socket);
    await once(agent, 'listening');
    const file = join(folder, 'nodes.json');
    writeFileSync(file, JSON.stringify(nodes));

    const endpoint = `${lab.prefix}-e`;
    const n2 = start('n2', b, [listener(b, '10.6.0.2'), listener(endpoint, '10.7.0.2')], ['--nodes', file]);
    const n1 = start(
      'n1',
      a,
      [listener(a, '10.6.0.1')],
      ['--agent', `unix://${socket}`, '--metrics-addr', ':9963'],
    );
    const status = await eventually('every path of n1 is measured', async () => {
      const now = await n1.client.status().catch(() => undefined);
      const all =
        now !== undefined &&
        reachable(now, 'n1', 'host') &&
        reachable(now, 'n2', 'host') &&
        reachable(now, 'n2', 'health-endpoint');
      return all ? now : undefined;
    });
    assert.equal(status.local?.name, 'n1');
    assert.equal(status.probeInterval, '500ms');
    assert.equal((await n1.client.healthz()).cilium?.cilium?.msg, 'fine');
    assert.equal(readFileSync(join(n1.folder, 'pid', 'health.pid'), 'utf8').trim(), String(n1.child.pid));

    const { stdout: metrics } = await lab.exec(a, [process.execPath, '-e', FETCH_METRICS]);
    assert.match(metrics, /cilium_node_health_connectivity_status\{type="node",status="reachable"\} 2/);
    const promtool = spawnSync('promtool', ['check', 'metrics'], { input: metrics, encoding: 'utf8' });
    if (promtool.error === undefined) assert.equal(promtool.status, 0, promtool.stdout + promtool.stderr);

    // The agent dies: probes go on over the last node list, and the answer says so.
    assert.ok(asked > 0);
    agent.close();
    agent.closeAllConnections();
    const alone = await eventually('the list is told to be stale', async () => {
      const now = await n1.client.status();
      return now['nodes-stale'] === undefined ? undefined : now;
    });
    assert.ok(reachable(alone, 'n2', 'host'));
    assert.equal((await n1.client.healthz()).cilium?.cilium?.state, 'Failure');

    // The peer's health agent is killed: its kernel still answers ICMP, nobody answers HTTP.
    n2.child.kill('SIGKILL');
    await eventually('n2 is unreachable over HTTP', async () => {
      const now = await n1.client.probe();
      const path = now.nodes?.find(({ name }) => name === 'n2')?.host?.['primary-address'];
      return path?.http?.status === 'connection refused' && path.icmp?.latency !== undefined;
    });

    n1.child.kill('SIGTERM');
    const [code] = (await once(n1.child, 'exit')) as [number | null];
    assert.equal(code, 0, n1.output());
    assert.ok(
      !existsSync(join(n1.folder, 'health.sock')) && !existsSync(join(n1.folder, 'pid', 'health.pid')),
    );
    const log = readFileSync(join(n1.folder, 'log', 'health.log'), 'utf8')
      .trim()
      .split('\n');
    for (const line of log) assert.equal(typeof JSON.parse(line), 'object');
  });

  it('refuse a second one on the same state folder', async () => {
    const file = join(folder, 'nodes.json');
    const first = start('n3', spaces[0], [], ['--nodes', file]);
    await eventually('the first answers', () => first.client.status().catch(() => undefined));
    const second = start('n3', spaces[0], [], ['--nodes', file]);
    const [code] = (await once(second.child, 'exit')) as [number | null];
    assert.equal(code, 4, second.output());
    assert.match(second.output(), /health\.sock is in use: somebody answers on it/);
    assert.ok(await first.client.status());
  });

  it('say what is wrong with a node list before anything is opened, and leave nothing behind', async () => {
    const file = join(folder, 'broken.yaml');
    writeFileSync(file, '- {name: a, ipv4: nonsense}');
    const broken = start('n4', spaces[0], [], ['--nodes', file]);
    const [code] = (await once(broken.child, 'exit')) as [number | null];
    assert.equal(code, 2, broken.output());
    assert.match(broken.output(), /broken\.yaml\[0\]\.ipv4/);
    assert.ok(!existsSync(broken.folder));
  });
});
