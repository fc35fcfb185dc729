import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createNetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { HealthContext } from '../../src/agent/agent-deps.ts';
import { Controllers } from '../../src/agent/controllers.ts';
import {
  createHealthProcess,
  HealthManager,
  type HealthManagerOptions,
} from '../../src/agent/health-manager.ts';
import { silentLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { until } from './agent-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'ciliate-health-manager-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const calls = join(folder, 'calls');

/** Stands for the health process: writes its words down and stays. */
const PROGRAM = `
const fs = require('node:fs');
fs.appendFileSync(process.argv[1], process.argv.slice(2).join(' ') + '\\n');
setInterval(() => undefined, 1000);
`;

const options: HealthManagerOptions = {
  nodeName: 'n1',
  nodeIps: [],
  devices: [],
  paths: nodePaths(folder, join(folder, 'bpf')),
  intervalMs: 1000,
  policyPaths: true,
  port: 4240,
  metricsAddress: undefined,
  allowedHosts: [],
  metricsNames: '1.17',
  metricsPeersMax: 100,
  probes: { dscp: 0, packetsPerSecond: 20_000, cpuPercent: 25 },
  withEndpoint: false,
  command: [process.execPath, '-e', PROGRAM, '--', calls],
};

function called(): string[] {
  return existsSync(calls) ? readFileSync(calls, 'utf8').split('\n').slice(0, -1) : [];
}

describe('the health process that an agent keeps', () => {
  const managers: HealthManager[] = [];
  afterEach(async () => {
    for (const one of managers.splice(0)) await one.stop();
    await createHealthProcess(options, silentLog, () => undefined).stop();
    rmSync(calls, { force: true });
  });

  before(() => {
    for (const one of [options.paths.pidDir, options.paths.logDir]) mkdirSync(one, { recursive: true });
  });

  async function start(more: Partial<HealthManagerOptions>): Promise<HealthManager> {
    const controllers = new Controllers(silentLog);
    const context = { controllers, isPolicyEnforced: () => true, onAddresses: () => undefined };
    const deps = { ...(context as unknown as HealthContext), sockets: loadSockets(), log: silentLog };
    const manager = new HealthManager({ ...options, ...more }, deps);
    managers.push(manager);
    await manager.start();
    return manager;
  }

  it('is told the names of its metrics, and replaced by one with others when a later agent has others', async () => {
    await start({ metricsNames: '1.16' });
    await until('it was started', () => called().length === 1);
    assert.match(called()[0] ?? '', / --metrics-names 1\.16( |$)/);
    await managers.splice(0)[0]?.stop();
    await start({ metricsNames: '1.16' });
    await managers.splice(0)[0]?.stop();
    await start({ metricsNames: 'both' });
    await until('another one was started', () => called().length === 2);
    assert.match(called()[1] ?? '', / --metrics-names both( |$)/);
  });

  it('is told how many peers may have metrics of their own', async () => {
    await start({ metricsPeersMax: 7 });
    await until('it was started', () => called().length === 1);
    assert.match(called()[0] ?? '', / --metrics-peers-max 7( |$)/);
  });

  it('is told the names by which it may be asked', async () => {
    await start({ allowedHosts: ['n1.example', 'metrics'] });
    await until('it was started', () => called().length === 1);
    assert.match(called()[0] ?? '', / --allowed-host n1\.example --allowed-host metrics( |$)/);
  });

  it('is told what its probes are marked with and may cost', async () => {
    await start({ probes: { dscp: 46, packetsPerSecond: 500, cpuPercent: 3 } });
    await until('it was started', () => called().length === 1);
    assert.match(called()[0] ?? '', / --dscp 46 --packets-per-second 500 --cpu-percent 3( |$)/);
  });

  it('is not well while it takes connections and does not answer, as one that hangs, and is once it does', async () => {
    const taken = new Set<Socket>();
    const hung = createNetServer((socket) => void taken.add(socket)).listen(options.paths.healthSocket);
    await once(hung, 'listening');
    const manager = await start({});
    assert.deepEqual(manager.status(), { state: 'Warning', message: 'the health process does not answer' });
    assert.ok(taken.size > 0);
    hung.close();
    for (const socket of taken) socket.destroy();
    const well = createServer((_, answer) => answer.end()).listen(options.paths.healthSocket);
    await until('it is well', () => manager.status().state === 'Ok');
    well.close();
  });

  it('is told to leave the paths of policy out when the agent says so', async () => {
    await start({ policyPaths: false });
    await until('it was started', () => called().length === 1);
    assert.match(called()[0] ?? '', / --no-policy-paths( |$)/);
  });
});
