import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BpfAttachType, type BpfLink, loadBpf } from '../../bpf/addon/index.ts';
import { HealthClient } from '../../src/api/health-client.ts';
import type { HealthStatusResponse } from '../../src/api/schema.ts';
import { buildAsset, packageRoot } from '../../src/base/assets.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { element } from './fakes.ts';

const MAIN = join(packageRoot(), 'bin', 'main.ts');
const HOOKS = [BpfAttachType.tcxIngress, BpfAttachType.tcxEgress];
const FETCH_METRICS =
  "require('node:http').get('http://127.0.0.1:9963/metrics', (answer) => answer.pipe(process.stdout))";

interface Running {
  readonly child: ChildProcess;
  readonly client: HealthClient;
  readonly output: () => string;
}

describe('health agents with programs on the devices', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('j');
  const folder = mkdtempSync(join(tmpdir(), 'health-bpf-'));
  const file = join(folder, 'nodes.json');
  const running: Running[] = [];
  const links: BpfLink[] = [];
  let [a, b] = ['', ''];

  before(async () => {
    [a, b] = [await lab.namespace('a'), await lab.namespace('b')];
    for (const i of [0, 1]) {
      await lab.veth(
        { name: `eth${i}`, netns: a, addresses: [`10.6.${i}.1/24`] },
        { name: `eth${i}`, netns: b, addresses: [`10.6.${i}.2/24`] },
      );
    }
    writeFileSync(file, JSON.stringify([element('n1', '10.6.0.1'), element('n2', '10.6.0.2')]));
  });

  after(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    for (const link of links) link.close();
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });

  function start(name: string, netns: string, ...words: string[]): Running {
    const state = join(folder, name);
    const argv = [`--net=${lab.path(netns)}`, process.execPath, MAIN, 'health-agent', '--node-name', name];
    const rest = ['--state-dir', state, '--interval', '200ms', '--nodes', file, '--icmp-mode', 'bpf'];
    const child = spawn('nsenter', [...argv, ...rest, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (text += String(chunk)));
    const client = new HealthClient({ address: { kind: 'unix', path: join(state, 'health.sock') } });
    const one = { child, client, output: () => text };
    running.push(one);
    return one;
  }

  const indexOf = (netns: string, device: string): number =>
    loadSockets().interfaceIndex(device, lab.path(netns));

  const programs = (netns: string, device: string): (readonly number[])[] =>
    HOOKS.map((hook) => loadBpf().queryTcx(indexOf(netns, device), hook, lab.path(netns)));

  /** A program that another would have on the device: it sends everything on, to nobody behind it. */
  function attachOther(netns: string, device: string): void {
    const spec = loadBpf().openObject(buildAsset('health.bpf.o'));
    const object = spec.load();
    const program = object.program('probe_egress');
    const ifindex = indexOf(netns, device);
    for (const attachType of HOOKS)
      links.push(program.attach({ ifindex, attachType, netns: lab.path(netns) }));
    program.close();
    object.close();
    spec.close();
  }

  const icmpOf = (status: HealthStatusResponse, name: string): number | undefined =>
    status.nodes?.find((node) => node.name === name)?.host?.['primary-address']?.icmp?.latency ?? undefined;

  async function timed({ client, output }: Running): Promise<HealthStatusResponse> {
    return eventually(`both nodes have times\n${output()}`, async () => {
      const now = await client.status().catch(() => undefined);
      return now !== undefined && ['n1', 'n2'].every((name) => icmpOf(now, name) !== undefined)
        ? now
        : undefined;
    });
  }

  async function answeredEchoes(netns: string): Promise<number> {
    const { stdout } = await lab.exec(netns, [process.execPath, '-e', FETCH_METRICS]);
    const line =
      /^ciliate_health_probes_total\{[^}]*protocol="echo"[^}]*result="answered"[^}]*\} (\d+)/m.exec(stdout);
    return Number(line?.[1] ?? 0);
  }

  it('time the stack and the echo responder of each other and of themselves, beside programs of others', async () => {
    attachOther(a, 'eth0');
    const n1 = start('n1', a, '--metrics-addr', '127.0.0.1:9963');
    const n2 = start('n2', b, '--device', 'eth0');
    const status = await timed(n1);
    assert.equal(status['icmp-modes']?.ipv4, 'bpf');
    await timed(n2);
    await eventually('echoes are answered', async () => ((await answeredEchoes(a)) > 2 ? true : undefined));
    // Ours are the first, whoever came before, and stay so when somebody comes behind.
    const [otherId] = links.map((link) => link.info.progId);
    for (const list of programs(a, 'eth0')) assert.deepEqual([list.length, list[1]], [2, otherId]);
    attachOther(b, 'eth0');
    for (const list of programs(b, 'eth0')) assert.equal(list.length, 2);
    const before = await answeredEchoes(a);
    await eventually('echoes go on', async () => ((await answeredEchoes(a)) > before + 2 ? true : undefined));
  });

  it('follow the route to another device, and a device that is made anew', async () => {
    await lab.ip('-n', a, 'route', 'add', '10.6.0.2/32', 'via', '10.6.1.2');
    await eventually('eth1 has programs', () =>
      programs(a, 'eth1').every((list) => list.length === 1) ? true : undefined,
    );
    assert.deepEqual(
      programs(a, 'eth0').map((list) => list.length),
      [1, 1],
      "only the other's are left",
    );
    await lab.ip('-n', a, 'route', 'del', '10.6.0.2/32');
    await lab.ip('-n', a, 'link', 'del', 'eth0');
    await lab.veth(
      { name: 'eth0', netns: a, addresses: ['10.6.0.1/24'] },
      { name: 'eth0', netns: b, addresses: ['10.6.0.2/24'] },
    );
    for (const netns of [a, b]) {
      await eventually(`eth0 of ${netns} has programs`, () =>
        programs(netns, 'eth0').every((list) => list.length === 1) ? true : undefined,
      );
    }
    const before = await answeredEchoes(a);
    await eventually('echoes go on', async () => ((await answeredEchoes(a)) > before + 2 ? true : undefined));
  });

  it('leave no program behind, however they end', async () => {
    const [n1, n2] = running;
    n1?.child.kill('SIGTERM');
    n2?.child.kill('SIGKILL');
    await Promise.all([n1, n2].map((one) => one && once(one.child, 'exit')));
    for (const netns of [a, b]) {
      await eventually('the devices are clean', () =>
        ['eth0', 'lo'].every((device) => programs(netns, device).every((list) => list.length === 0))
          ? true
          : undefined,
      );
    }
  });
});
