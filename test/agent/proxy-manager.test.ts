import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { Controllers } from '../../src/agent/controllers.ts';
import { processRef, signalProcess } from '../../src/agent/process-ref.ts';
import { findSetpriv } from '../../src/agent/proxy-launch.ts';
import { PROXY_PORT_RANGE, ProxyListeners } from '../../src/agent/proxy-listeners.ts';
import { ProxyManager, type ProxyManagerDeps } from '../../src/agent/proxy-manager.ts';
import { programBuild } from '../../src/agent/version.ts';
import { packageRoot } from '../../src/base/assets.ts';
import { silentLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import type { L7Policy } from '../../src/model/l7.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from './agent-fixture.ts';

const root = mkdtempSync(join(tmpdir(), 'ciliate-proxy-'));
after(() => rmSync(root, { recursive: true, force: true }));
let number = 0;

const FAKE = join(import.meta.dirname, 'fake-proxy.ts');
const policy = (revision: number): L7Policy => ({ revision, subjects: [] });

interface Told {
  readonly pid?: number;
  readonly words?: readonly string[];
  readonly type?: string;
  readonly policy?: L7Policy;
  readonly id?: number;
}

describe('the proxy manager', { skip: rootOrSkip() }, () => {
  let folder: string;
  let managers: ProxyManager[];
  let pids: Set<number>;

  beforeEach(() => {
    folder = mkdtempSync(join(root, `${number++}-`));
    for (const name of ['pid', 'log']) mkdirSync(join(folder, name));
    managers = [];
    pids = new Set();
  });
  afterEach(async () => {
    for (const one of managers) await one.stop();
    for (const { pid } of told()) if (pid !== undefined) pids.add(pid);
    for (const pid of pids) {
      const ref = processRef(pid);
      if (ref !== undefined) signalProcess(ref, 'SIGKILL');
    }
  });

  const told = (): readonly Told[] => {
    const file = join(folder, 'fake-proxy.log');
    if (!existsSync(file)) return [];
    // Whole lines only: the file is there before what is written to it.
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Told);
  };
  const starts = (): readonly Told[] => told().filter(({ words }) => words !== undefined);
  const policies = (): readonly number[] =>
    told().flatMap(({ policy: sent }) => (sent === undefined ? [] : [sent.revision]));

  function make(
    behaviour = '',
    more: Partial<ProxyManagerDeps> = {},
    setpriv?: string,
    command = ['/usr/bin/env', `FAKE_PROXY=${behaviour}`, process.execPath, FAKE],
    build?: string,
  ): ProxyManager {
    const made = new ProxyManager(
      {
        paths: nodePaths(folder, join(folder, 'bpf')),
        command,
        setpriv,
        build,
      },
      {
        sockets: loadSockets(),
        datapath: {},
        controllers: new Controllers(silentLog),
        log: silentLog,
        now: () => new Date(),
        onRecords: () => undefined,
        onLost: () => undefined,
        onCounters: () => undefined,
        onObservation: () => undefined,
        ...more,
      },
    );
    managers.push(made);
    return made;
  }

  it('starts nothing until a rule needs it', async () => {
    const one = make();
    await one.start();
    assert.equal(one.status().state, 'Off');
    assert.equal(one.ports['http-ingress'], 0);
    assert.deepEqual(starts(), []);
  });

  it('binds the sockets before it tells their ports, and hands each over', async () => {
    const one = make();
    await one.start();
    await one.need();
    const { 'dns-ingress': unused, ...ports } = one.ports;
    assert.equal(unused, 0);
    for (const port of Object.values(ports))
      assert.ok(port >= PROXY_PORT_RANGE.first && port <= PROXY_PORT_RANGE.last);
    assert.equal(new Set(Object.values(ports)).size, 13);
    assert.equal(await one.apply(policy(3), [], 5_000), true);
    const words = starts()[0]?.words ?? [];
    const listeners = words.filter((_, i) => words[i - 1] === '--listener');
    assert.deepEqual(
      listeners.map((text) => text.replace(/=.*/, '')).filter((text) => text.endsWith('4')),
      [
        'http-ingress/tcp4',
        'http-egress/tcp4',
        'kafka-ingress/tcp4',
        'kafka-egress/tcp4',
        'dns-egress/udp4',
        'dns-egress/tcp4',
        'dns-egress/reply4',
        ...['tls', 'memcache', 'cassandra', 'r2d2'].flatMap((kind) => [
          `${kind}-ingress/tcp4`,
          `${kind}-egress/tcp4`,
        ]),
      ],
    );
    assert.equal(one.status().state, 'Warning');
    assert.match(one.status().message, /setpriv/);
  });

  it('leaves the process CAP_NET_ADMIN and nothing else', { skip: findSetpriv() === undefined }, async () => {
    const one = make('', {}, findSetpriv());
    await one.start();
    await one.need();
    await one.apply(policy(1), [], 5_000);
    const status = readFileSync(`/proc/${starts()[0]?.pid}/status`, 'utf8');
    const sets = [...status.matchAll(/^Cap(?:Inh|Prm|Eff|Bnd|Amb):\s*(\S+)/gm)].map(([, set]) => set);
    assert.deepEqual(sets, Array(5).fill('0000000000001000'));
    assert.match(status, /^NoNewPrivs:\s*1$/m);
    assert.deepEqual(one.status(), { state: 'Ok', message: '' });
  });

  it('is adopted by the next agent, with the same ports and without a restart', async () => {
    const first = make();
    await first.start();
    await first.need();
    await first.apply(policy(1), [], 5_000);
    await first.stop();
    const second = make();
    await second.start();
    assert.deepEqual(second.ports, first.ports);
    assert.equal(await second.apply(policy(2), [], 5_000), true);
    assert.equal(starts().length, 1);
    assert.deepEqual(policies(), [1, 2]);
  });

  it('says that the one which it took over is of another build, until that is replaced', async () => {
    const one = make('', {}, '/usr/bin/true', undefined, 'new');
    const old = make();
    await old.start();
    await old.need();
    await old.apply(policy(1), [], 5_000);
    await old.stop();
    await one.start();
    assert.equal(await one.apply(policy(2), [], 5_000), true);
    assert.equal(starts().length, 1, 'it goes on');
    const { state, message } = one.status();
    assert.equal(state, 'Warning');
    assert.match(message, /another build \(fake, this agent is new\)/);
    assert.ok(message.includes(`end process ${starts()[0]?.pid} `), message);
  });

  it('is started again at the same ports when it is killed, and told the newest policy at once', async () => {
    const one = make();
    await one.start();
    await one.need();
    await one.apply(policy(1), [], 5_000);
    const { ports } = one;
    process.kill(starts()[0]?.pid ?? 0, 'SIGKILL');
    await until('the second has the policy', () => policies().length === 2, 10_000);
    assert.equal(starts().length, 2);
    assert.deepEqual(one.ports, ports);
  });

  it('starts the real proxy with reduced rights, and that acknowledges policies', async () => {
    const real = [join(packageRoot(), 'bin', 'ciliate'), 'proxy'];
    const one = make('', {}, findSetpriv(), real, programBuild());
    await one.start();
    await one.need();
    const { pid } = JSON.parse(readFileSync(join(folder, 'pid', 'proxy.started.json'), 'utf8')) as {
      pid: number;
    };
    pids.add(pid);
    assert.equal(
      await one.apply(policy(5), [], 20_000),
      true,
      readFileSync(join(folder, 'log', 'proxy.out'), 'utf8'),
    );
    assert.equal(await one.apply(policy(6), [], 5_000), true);
    assert.doesNotMatch(one.status().message, /another build/);
  });

  it('takes the place of a proxy that nobody knows of, as an agent leaves that dies in the middle of its start', async () => {
    const orphan = spawn(process.execPath, [FAKE, '--state-dir', folder], { stdio: 'ignore' });
    pids.add(orphan.pid ?? 0);
    await until('it listens', () => existsSync(join(folder, 'proxy.sock')));
    const one = make();
    await one.start();
    await one.need();
    await until('it is gone', () => processRef(orphan.pid ?? 0) === undefined, 10_000);
    assert.equal(await one.apply(policy(8), [], 10_000), true);
    assert.equal(one.status().state, 'Warning');
    assert.ok(starts().at(-1)?.words?.includes('--listener'));
  });

  it('is given up on for a while when it keeps dying, with the reason in its status', async () => {
    const one = make('die');
    await one.start();
    await one.need().catch(() => undefined);
    await until('it is told', () => one.status().state === 'Failure', 10_000);
    assert.match(one.status().message, /ended 2 times right after its start/);
  });

  it('is not waited for longer than asked when it acknowledges nothing, and what it cannot take in is one policy', async () => {
    const one = make('mute');
    await one.start();
    await one.need();
    assert.equal(await one.apply(policy(1), [], 2_000), false);
    for (let revision = 2; revision < 100; revision++) void one.apply(policy(revision), [], 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(policies(), [1]);
  });

  it('passes on what the proxy tells, and answers it', async () => {
    const seen: unknown[] = [];
    const one: ProxyManager = make('talk', {
      onLost: (records) => seen.push(records),
      onCounters: ({ dns }) => seen.push(dns.denied),
      onObservation: (id, { names }) => {
        seen.push(names);
        one.dnsApplied(id);
      },
    });
    await one.start();
    await one.need();
    await one.apply(policy(1), [], 5_000);
    await until('it is answered', () => told().some(({ type, id }) => type === 'dns-applied' && id === 7));
    assert.deepEqual(seen, [3, 5, ['a.b']]);
  });

  it('is replaced when the file of its ports is lost, since nobody knows where it listens', async () => {
    const first = make();
    await first.start();
    await first.need();
    await first.apply(policy(1), [], 5_000);
    await first.stop();
    writeFileSync(join(folder, 'proxy-ports.json'), '{"http-ingress":');
    const second = make();
    await second.start();
    assert.equal(second.status().state, 'Off');
    await second.need();
    assert.equal(await second.apply(policy(2), [], 5_000), true);
    assert.equal(starts().length, 2);
  });
});

describe('the listeners of the proxy', { skip: rootOrSkip() }, () => {
  const deps = { log: silentLog, now: () => new Date(), sockets: loadSockets() };

  it('keep their ports, but for one that somebody else took', async () => {
    const file = join(root, 'ports.json');
    const one = new ProxyListeners(file, deps);
    for (const { fd } of one.open()) closeSync(fd);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(one.ports['http-egress'], '127.0.0.1', resolve));
    const next = new ProxyListeners(file, deps);
    assert.equal(next.load(), true);
    for (const { fd } of next.open()) closeSync(fd);
    taken.close();
    const { 'http-egress': before, ...others } = one.ports;
    const { 'http-egress': now, ...same } = next.ports;
    assert.notEqual(now, before);
    assert.deepEqual(same, others);
  });

  it('leave nothing open when their ports cannot be kept', () => {
    const folder = join(root, 'full');
    mkdirSync(join(folder, 'ports.json.new'), { recursive: true });
    const one = new ProxyListeners(join(folder, 'ports.json'), deps);
    assert.throws(() => one.open(), { code: 'STATE_UNWRITABLE' });
    assert.equal(one.ports['http-ingress'], 0);
  });

  it('refuse when no port is free', () => {
    const held = new ProxyListeners(join(root, 'held.json'), deps);
    const opened = held.open();
    const port = held.ports['http-ingress'];
    const one = new ProxyListeners(join(root, 'none.json'), { ...deps, random: () => port });
    assert.throws(() => one.open(), { code: 'PROXY_PORTS' });
    for (const { fd } of opened) closeSync(fd);
  });
});
