import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { agentClient } from '../../src/lab/agent-process.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { isAlive, waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const TRIES = 24;
/** Connections that take longer than the changes of services and the kill of the agent. */
const MANY = 6000;
const CHANGES = 100;
const NAMED_PORTS = [{ name: 'www', protocol: 'TCP' as const, port: 8080 }];

/** Says its name to whoever connects. */
const SERVE = `
  require('node:net').createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(process.argv[1]);
  }).listen(8080, '::', () => console.log('serving'));
`;
/** Connects one time after the other and prints what it heard, in order: a name, or why not. */
const ASK = `
  const [host, port, tries] = process.argv.slice(1);
  const ask = () => new Promise((done) => {
    let heard = '';
    const socket = require('node:net').connect({ host, port: Number(port), timeout: 3000 });
    socket.on('data', (part) => { heard += part; });
    socket.on('timeout', () => { socket.destroy(); done('timeout'); });
    socket.on('error', (error) => done(error.code));
    socket.on('end', () => done(heard));
  });
  (async () => {
    const all = [];
    for (let i = 0; i < Number(tries); i++) all.push(await ask());
    console.log(all.join(' '));
  })();
`;

const service = (spec: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web' },
  spec: {
    type: 'NodePort',
    clusterIPs: ['10.96.0.10', 'fd00:96::10'],
    selector: { app: 'web' },
    ports: [{ port: 80, targetPort: 'www', nodePort: 30080 }],
    ...spec,
  },
});

describe('services of Kubernetes objects, between pods', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;

  /** Who answered the client, each once. */
  const heard = async (host: string, port: number, tries = TRIES): Promise<readonly string[]> => {
    const { stdout } = await lab.exec(
      'client',
      [process.execPath, '-e', ASK, host, String(port), String(tries)],
      60_000,
    );
    return [...new Set(stdout.trim().split(' '))].sort();
  };
  const client = () => agentClient(lab.node('node1'));
  const killAgent = async (): Promise<void> => {
    const ref = lab.record.agents.node1 ?? assert.fail('no agent');
    process.kill(ref.pid, 'SIGKILL');
    await waitFor({ what: 'it is gone', timeoutMs: 5000 }, () => (isAlive(ref) ? undefined : true));
  };
  const realized = (what: string, backends: number): Promise<true> =>
    waitFor({ what, timeoutMs: 10_000 }, async () => {
      const services = await client().services();
      const counts = services.map(({ status }) => status?.realized?.['backend-addresses']?.length);
      return counts.length > 0 && counts.every((count) => count === backends) ? true : undefined;
    });

  before(async () => {
    testLab = await startTestLab(2);
    lab = testLab.lab;
    await lab.addWorkload({ name: 'client', node: 'node1', labels: ['k8s:app=client'] });
    for (const [name, node] of [
      ['web1', 'node1'],
      ['web2', 'node2'],
    ] as const) {
      await lab.addWorkload({ name, node, labels: ['k8s:app=web'], namedPorts: NAMED_PORTS });
      const output = join(lab.layout.dir, `${name}.out`);
      await lab.runIn(name, [process.execPath, '-e', SERVE, name], output);
      await waitFor({ what: `${name} serves`, timeoutMs: 10_000 }, () =>
        existsSync(output) && readFileSync(output, 'utf8').includes('serving') ? true : undefined,
      );
    }
    await client().putPolicy(JSON.stringify([service()]));
    await realized('both pods', 2);
  });
  after(() => testLab?.tearDown());

  it('reach the pods of every node by its cluster address of each family, and by its port at each node', async () => {
    const { node1, node2 } = { node1: lab.node('node1'), node2: lab.node('node2') };
    for (const [host, port] of [
      ['10.96.0.10', 80],
      ['fd00:96::10', 80],
      [node1.ipv4, 30080],
      [node2.ipv4, 30080],
    ] as const)
      assert.deepEqual(await heard(host, port), ['web1', 'web2'], `${host}:${port}`);
  });

  it('answer every connection while others of the same pods change all the time and the agent is killed amid that', async () => {
    const pods = ['web1', 'web2'].map((name) => lab.workload(name).ipv4 ?? assert.fail('no address'));
    const STATES = ['active', 'terminating', 'quarantined', 'maintenance'] as const;
    let changes = 0;
    let isOver = false;
    const change = async (last: number): Promise<void> => {
      while (!isOver) {
        const states = pods.map((_, i) => STATES[(changes + i * last) % STATES.length]);
        await client()
          .putService(0, {
            'frontend-address': { ip: `10.96.9.${last}`, port: 80 },
            'backend-addresses': pods.map((ip, i) => ({ ip, port: 8080, state: states[i] })),
          })
          .then(
            () => changes++,
            () => delay(10),
          );
      }
    };
    const changing = [1, 2, 3].map(change);
    const asking = heard('10.96.0.10', 80, MANY);
    try {
      await waitFor({ what: 'changes', timeoutMs: 20_000 }, () => (changes > CHANGES ? true : undefined));
      await killAgent();
      await lab.startAgent('node1', { datapath: 'bpf' });
      await waitFor({ what: 'more', timeoutMs: 20_000 }, () => (changes > 2 * CHANGES ? true : undefined));
    } finally {
      isOver = true;
      await Promise.all(changing);
    }
    assert.deepEqual(await asking, ['web1', 'web2']);
    for (const { spec } of await client().services())
      if (spec?.['frontend-address']?.ip?.startsWith('10.96.9.')) await client().deleteService(spec.id ?? 0);
  });

  it('go on without the agent, and with the next one', async () => {
    const before = (await client().services()).map(({ spec }) => [spec?.id, spec?.['frontend-address']?.ip]);
    await killAgent();
    assert.deepEqual(await heard('10.96.0.10', 80), ['web1', 'web2']);
    await lab.startAgent('node1', { datapath: 'bpf' });
    await realized('the same', 2);
    assert.deepEqual(await heard('10.96.0.10', 80), ['web1', 'web2']);
    assert.deepEqual(
      (await client().services()).map(({ spec }) => [spec?.id, spec?.['frontend-address']?.ip]),
      before,
    );
  });

  it('keep a client at one pod where its object says so', async () => {
    await client().putPolicy(JSON.stringify([service({ sessionAffinity: 'ClientIP' })]));
    await waitFor(
      { what: 'affinity', timeoutMs: 10_000 },
      async () =>
        (await client().services()).every(
          ({ status }) => status?.realized?.flags?.affinityTimeout === 10_800,
        ) || undefined,
    );
    assert.equal((await heard('10.96.0.10', 80)).length, 1);
  });

  it('are judged by the rules about the pods, not about their own addresses', async () => {
    const only = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNetworkPolicy',
      metadata: { name: 'no-way' },
      spec: { endpointSelector: { matchLabels: { app: 'client' } }, egress: [{ toCIDR: ['10.96.0.10/32'] }] },
    };
    await client().putPolicy(JSON.stringify([only]));
    await waitFor(
      { what: 'the rule', timeoutMs: 10_000 },
      async () => (await heard('10.96.0.10', 80, 1)).includes('timeout') || undefined,
    );
    await client().deletePolicyObjects(['cnp/default/no-way']);
    await waitFor(
      { what: 'without it', timeoutMs: 10_000 },
      async () => !(await heard('10.96.0.10', 80, 1)).includes('timeout') || undefined,
    );
  });

  it('refuse without pods, and lead nowhere without their object', async () => {
    await client().putPolicy(JSON.stringify([service({ selector: { app: 'nobody' } })]));
    await realized('none', 0);
    assert.deepEqual(await heard('10.96.0.10', 80), ['ECONNREFUSED']);
    await client().deletePolicyObjects(['svc/web']);
    assert.deepEqual(await client().services(), []);
  });
});
