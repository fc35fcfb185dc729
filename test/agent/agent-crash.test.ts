import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentClient } from '../../src/api/client.ts';
import type * as Api from '../../src/api/schema.ts';
import { packageRoot } from '../../src/base/assets.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { run, runChecked } from '../../src/base/run.ts';
import { NetnsLab } from '../support/netns.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { type StartedProcess, startProcess } from '../support/process.ts';
import { allowRule, until } from './agent-fixture.ts';

const SEED = Number(process.env.CILIATE_TEST_SEED ?? 20261123);
const ROUNDS = 5;
const START_MS = 20_000;

/** Numbers in [0, 1) that the seed decides (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('a real agent on the real kernel, killed at any moment', { skip: bpfOrSkip() }, () => {
  const root = mkdtempSync(join(tmpdir(), 'ciliate-crash-'));
  const lab = new NetnsLab('g');
  const paths = nodePaths(join(root, 'state'), join(root, 'bpf', 'n1'));
  const client = new AgentClient({ address: { kind: 'unix', path: paths.agentSocket } });
  let netns = '';
  let agent: StartedProcess | undefined;
  let links = 0;

  const words = (...more: string[]): string[] => [
    ...['nsenter', `--net=/run/netns/${netns}`, '--', join(packageRoot(), 'bin', 'ciliate'), ...more],
    ...[`--state-dir=${paths.stateDir}`, `--bpf-dir=${paths.bpfDir}`],
  ];

  async function start(): Promise<void> {
    agent = await startProcess(
      words(
        ...['agent', '--node-name=n1', '--ipv4-node=192.0.2.1', '--devices=lo', '--ipv4-range=10.0.1.0/24'],
        ...['--no-health', '--metrics-address=127.0.0.1:0', '--liveness-address='],
      ),
    );
    await agent.waitForLine(/"agent started"/, START_MS);
  }

  async function kill(): Promise<void> {
    await agent?.stop('SIGKILL');
  }

  before(async () => {
    netns = await lab.namespace('node');
    await lab.ip('-n', netns, 'address', 'add', '192.0.2.1/32', 'dev', 'lo');
    mkdirSync(join(root, 'bpf'));
    await runChecked(['mount', '-t', 'bpf', 'none', join(root, 'bpf')]);
  });
  after(async () => {
    await kill();
    await lab.cleanUp();
    await run(['umount', join(root, 'bpf')]);
    rmSync(root, { recursive: true, force: true });
  });

  /** Makes a link and asks for an endpoint on it. */
  async function create(app: string): Promise<Api.Endpoint | undefined> {
    const number = ++links;
    const name = `lxc${number}`;
    await lab.ip('-n', netns, 'link', 'add', name, 'type', 'veth', 'peer', 'name', `peer${number}`);
    await lab.ip('-n', netns, 'link', 'set', name, 'up');
    const [link] = JSON.parse(await lab.ip('-n', netns, '-json', 'link', 'show', name)) as {
      ifindex: number;
      address: string;
    }[];
    return client.putEndpoint(`container-id:c${number}`, {
      state: 'waiting-for-identity',
      'container-id': `c${number}`,
      labels: [`k8s:app=${app}`],
      'interface-name': name,
      'interface-index': link?.ifindex ?? 0,
      mac: '02:00:00:00:00:01',
      'host-mac': link?.address ?? '',
      addressing: { ipv4: `10.0.1.${10 + number}` },
      'sync-build-endpoint': true,
    });
  }

  async function list(): Promise<unknown[]> {
    return (await client.endpoints()).map(({ id, status }) => ({
      id,
      container: status?.['external-identifiers']?.['container-id'],
      identity: status?.identity?.id,
      enabled: status?.policy?.realized?.['policy-enabled'],
      addressing: status?.networking?.addressing?.[0]?.ipv4,
      state: status?.state,
    }));
  }

  const allReady = async (): Promise<boolean> =>
    (await client.endpoints()).every(({ status }) => status?.state === 'ready');

  it(`comes back with every endpoint and rule that it had confirmed (seed ${SEED})`, async () => {
    const random = randomFrom(SEED);
    const confirmed = new Set<string>();
    let revision = 1;
    await start();
    for (let round = 0; round < ROUNDS; round++) {
      const before = confirmed.size;
      const spared = 1 + Math.floor(random() * 2);
      const pauseMs = Math.floor(random() * 150);
      let killed: Promise<void> | undefined;
      const work = async (): Promise<void> => {
        for (let i = 0; ; i++) {
          // From here on the agent may die at any moment: in an endpoint's creation, or in a change of policy.
          if (confirmed.size - before === spared) killed ??= sleep(pauseMs).then(kill);
          const made = await create(i % 2 === 0 ? 'web' : 'db');
          confirmed.add(made?.status?.['external-identifiers']?.['container-id'] ?? '');
          revision = (await client.putPolicy(allowRule(`r${i % 3}`, 'web', 'db'))).revision ?? 0;
        }
      };
      await assert.rejects(work(), { name: 'SourceError' });
      await killed;
      await start();
      await until('all are ready', allReady, START_MS);
      const endpoints = await client.endpoints();
      const containers = endpoints.map(
        ({ status }) => status?.['external-identifiers']?.['container-id'] ?? '',
      );
      for (const container of confirmed) assert.ok(containers.includes(container), `${container} is lost`);
      assert.ok(containers.length <= confirmed.size + round + 1, 'more endpoints than were asked for');
      const found = (await client.policy()).revision ?? 0;
      assert.ok(found === revision || found === revision + 1, `revision ${found} after ${revision}`);
      revision = found;
      assert.deepEqual(
        readdirSync(paths.endpointsDir).sort(),
        endpoints.map(({ id }) => String(id)).sort(),
        'directories and endpoints differ',
      );
    }
  });

  it('shows the same list and revision after a kill in peace', async () => {
    const [endpoints, policy] = [await list(), await client.policy()];
    await kill();
    await start();
    await until('all are ready', allReady, START_MS);
    assert.deepEqual(await list(), endpoints);
    assert.deepEqual(await client.policy(), policy);
  });

  it('finds its proxy and the numbers of prefixes again after a kill', async () => {
    const port = { ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ method: 'GET' }] } };
    const rule = { ingress: [{ toPorts: [port] }], egress: [{ toCIDR: ['198.51.100.0/24'] }] };
    await client.endpoints();
    await client.putPolicy(
      JSON.stringify([{ endpointSelector: { matchLabels: { 'k8s:app': 'web' } }, ...rule }]),
    );
    const number = async (): Promise<number | undefined> =>
      (await client.ips({ cidr: '198.51.100.0/24' }))[0]?.identity;
    const proxy = (): unknown => JSON.parse(readFileSync(join(paths.pidDir, 'proxy.started.json'), 'utf8'));
    await until('the prefix is named', async () => (await number()) !== undefined, START_MS);
    await until('all are ready', allReady, START_MS);
    const before = [await number(), proxy()];
    await kill();
    await start();
    await until('all are ready', allReady, START_MS);
    assert.deepEqual([await number(), proxy()], before);
    assert.equal((await client.healthz()).cilium?.state, 'Ok');
  });

  it('refuses a second one on the same state with exit code 4 and its pid', async () => {
    const second = await run(
      words('agent', '--node-name=n1', '--ipv4-node=192.0.2.1', '--devices=lo', '--no-health'),
      {
        timeoutMs: START_MS,
      },
    );
    assert.equal(second.exitCode, 4);
    assert.match(second.stderr, new RegExp(`another agent \\(pid ${agent?.pid}\\) runs on the state folder`));
    assert.equal((await client.healthz()).cilium?.state, 'Ok');
  });

  it('is refused clean-up while it runs, and leaves nothing when it is cleaned up after', async () => {
    const early = await run(words('cleanup', '--force', '--node-name=n1'), { timeoutMs: START_MS });
    assert.equal(early.exitCode, 4);
    await agent?.stop('SIGTERM');
    assert.ok(existsSync(paths.bpfDir), 'the datapath is gone with the agent');
    const unsure = await run(words('cleanup'), { timeoutMs: START_MS });
    assert.equal(unsure.exitCode, 2);
    const done = await run(words('cleanup', '--force', '--node-name=n1'), { timeoutMs: START_MS });
    assert.equal(done.exitCode, 0, done.stdout + done.stderr);
    assert.deepEqual(existsSync(paths.bpfDir) ? readdirSync(paths.bpfDir) : [], []);
    assert.deepEqual(readdirSync(paths.stateDir), ['log']);
    assert.equal(await lab.ip('-n', netns, 'route', 'show', 'proto', '201'), '');
  });
});
