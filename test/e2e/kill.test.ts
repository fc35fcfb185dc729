import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type * as Api from '../../src/api/schema.ts';
import { agentClient } from '../../src/lab/agent-process.ts';
import { policyRealized } from '../../src/lab/demo/observe.ts';
import { inNetns } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { processRef, stopProcesses, waitFor } from '../../src/lab/processes.ts';
import { readPolicy, rulesText } from '../../src/policy/index.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, isAlive, type StartedProcess, startProcess } from '../support/process.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const PORT = 80;
const STREAM = join(import.meta.dirname, 'stream.mjs');
const BPF = { datapath: 'bpf' } as const;
/** Longer than the first two times that TCP sends again. */
const CUT_MS = 1500;

/** The empire may reach the server; nobody else. */
const EMPIRE_ONLY = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: empire-only }
spec:
  endpointSelector: { matchLabels: { class: server } }
  ingress:
  - fromEndpoints:
    - matchLabels: { org: empire }
    toPorts:
    - ports: [{ port: "${PORT}", protocol: TCP }]
`;

interface Beat {
  readonly bytes: number;
  readonly gapMs: number;
}

/** A client of `stream.mjs` in a workload. */
class Stream {
  readonly #process: StartedProcess;

  private constructor(process: StartedProcess) {
    this.#process = process;
  }

  static async start(lab: Lab, from: string, host: string): Promise<Stream> {
    const argv = inNetns(lab.workload(from).netns, [process.execPath, STREAM, 'send', host, String(PORT)]);
    return new Stream(await startProcess(argv));
  }

  connected(timeoutMs: number): Promise<boolean> {
    return this.#process.waitForLine(/^connected/, timeoutMs).then(
      () => true,
      () => false,
    );
  }

  beats(): readonly Beat[] {
    const lines = this.#process
      .output()
      .split('\n')
      .filter((line) => /^\d+ \d+$/.test(line));
    return lines.map((line) => {
      const [bytes = 0, gapMs = 0] = line.split(' ').map(Number);
      return { bytes, gapMs };
    });
  }

  bytes(): number {
    return this.beats().at(-1)?.bytes ?? 0;
  }

  /** Whether it moves within `withinMs`. */
  async moves(withinMs = 3000): Promise<boolean> {
    const from = this.bytes();
    const options = { timeoutMs: withinMs, everyMs: 50 };
    return eventually('bytes', () => (this.bytes() > from + 2 ? true : undefined), options).catch(
      () => false,
    );
  }

  stop(): Promise<unknown> {
    return this.#process.stop('SIGKILL');
  }
}

/** What must be the same after a restart. */
function stable(endpoints: readonly Api.Endpoint[]): unknown {
  const rows = endpoints.map(({ id, status }) => ({
    id,
    identity: status?.identity,
    addressing: status?.networking?.addressing,
    pod: status?.['external-identifiers']?.['pod-name'],
    revision: status?.policy?.realized?.['policy-revision'],
    enabled: status?.policy?.realized?.['policy-enabled'],
    state: status?.state,
  }));
  return rows.sort((a, b) => (a.id ?? 0) - (b.id ?? 0));
}

describe('agents that are killed, and policies that change, under traffic', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;
  const streams: Stream[] = [];
  const rules = rulesText(readPolicy(EMPIRE_ONLY, { file: 'empire-only' }));

  const open = async (from: string, to = 'server'): Promise<Stream> => {
    const stream = await Stream.start(lab, from, lab.workload(to).ipv4 ?? '');
    streams.push(stream);
    return stream;
  };
  const serve = async (name: string): Promise<void> => {
    const output = join(lab.layout.dir, `${name}.out`);
    await lab.runIn(name, [process.execPath, STREAM, 'serve', String(PORT)], output);
    await waitFor({ what: `${name} serves`, timeoutMs: 10_000 }, () =>
      existsSync(output) && readFileSync(output, 'utf8').includes('serving') ? true : undefined,
    );
  };
  const setPolicy = async (text: string | undefined): Promise<void> => {
    for (const node of lab.layout.nodes) {
      const client = agentClient(node);
      const { revision = 0 } =
        text === undefined ? await client.deletePolicy([]) : await client.putPolicy(text);
      await policyRealized(node, revision);
    }
  };

  before(async () => {
    testLab = await startTestLab(2);
    lab = testLab.lab;
    await lab.addWorkload({ name: 'server', node: 'node1', labels: ['k8s:org=empire', 'k8s:class=server'] });
    await lab.addWorkload({ name: 'other', node: 'node2', labels: ['k8s:org=empire', 'k8s:class=other'] });
    await lab.addWorkload({ name: 'friend', node: 'node2', labels: ['k8s:org=empire', 'k8s:class=friend'] });
    await lab.addWorkload({ name: 'rebel', node: 'node1', labels: ['k8s:org=alliance', 'k8s:class=rebel'] });
    await serve('server');
    await serve('other');
  });
  after(async () => {
    for (const stream of streams) await stream.stop();
    await testLab?.tearDown();
  });

  it('a policy that denies a running stream cuts it, touches no other, and its removal lets a new one through', async () => {
    const denied = await open('rebel');
    const allowed = await open('friend');
    const unrelated = await open('rebel', 'other');
    for (const stream of [denied, allowed, unrelated]) assert.ok(await stream.connected(5000));
    assert.ok(await denied.moves());

    const beatsBefore = [allowed.beats().length, unrelated.beats().length] as const;
    await setPolicy(rules);
    // One echo may be under way, and what came before may not be reported yet; from then on nothing.
    const reports = denied.beats().length;
    await eventually('two more reports', () => denied.beats().length >= reports + 2 || undefined);
    const cutAt = denied.bytes();
    await eventually('a long pause', () => (denied.beats().at(-1)?.gapMs ?? 0) >= CUT_MS || undefined);
    assert.ok(denied.bytes() - cutAt <= 1, `${denied.bytes() - cutAt} bytes passed after the policy`);
    assert.ok(await allowed.moves());
    assert.ok(await unrelated.moves());
    const gaps = [...allowed.beats().slice(beatsBefore[0]), ...unrelated.beats().slice(beatsBefore[1])];
    assert.ok(gaps.length > 0);
    const longest = Math.max(...gaps.map(({ gapMs }) => gapMs));
    // Below TCP's least retransmission time out: no packet of theirs was dropped.
    assert.ok(longest < 200, `another stream paused for ${longest} ms`);
    assert.equal(await (await open('rebel')).connected(2500), false);

    await setPolicy(undefined);
    const again = await open('rebel');
    assert.ok(await again.connected(5000));
    assert.ok(await again.moves());
    for (const stream of streams.splice(0)) await stream.stop();
  });

  it('kill -9 of agent and health: allowed streams go on, denied ones stay denied, a restart finds everything again', async () => {
    await setPolicy(rules);
    const allowed = await open('friend');
    assert.ok(await allowed.connected(5000));
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const client = agentClient(node);
    const endpoints = stable(await client.endpoints());
    const { revision } = await client.policy();
    const pids = ['agent.pid', 'health.pid']
      .map((name) => join(node.paths.pidDir, name))
      .filter((file) => existsSync(file))
      .map((file) => Number.parseInt(readFileSync(file, 'utf8'), 10));
    assert.equal(pids.length, 2, 'agent and health agent each have a pid file');

    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await eventually('both are gone', () => (pids.some(isAlive) ? undefined : true));
    const killedAt = allowed.beats().length;
    assert.equal(await (await open('rebel')).connected(2500), false, 'a denied connection came through');
    assert.ok(await allowed.moves(), 'an allowed stream stopped');
    const fresh = await open('friend');
    assert.ok(await fresh.connected(5000), 'a new allowed connection needs no agent');

    await lab.startAgent(node.name, BPF);
    assert.ok(await allowed.moves(), 'an allowed stream stopped at the restart');
    const longest = Math.max(
      ...allowed
        .beats()
        .slice(killedAt)
        .map(({ gapMs }) => gapMs),
    );
    assert.ok(longest < 200, `an allowed stream paused for ${longest} ms`);
    await policyRealized(node, revision ?? 0);
    assert.deepEqual(stable(await client.endpoints()), endpoints);
    assert.equal((await client.policy()).revision, revision);
    assert.equal(await (await open('rebel')).connected(2500), false);
    for (const stream of streams.splice(0)) await stream.stop();
  });

  it('an agent that is ended and started again keeps its endpoints, and takes new policy', async () => {
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const client = agentClient(node);
    const endpoints = stable(await client.endpoints());
    const ref = lab.record.agents[node.name];
    assert.ok(ref !== undefined && processRef(ref.pid) !== undefined);
    await stopProcesses([ref], 10_000);
    await lab.startAgent(node.name, BPF);
    assert.deepEqual(stable(await client.endpoints()), endpoints);
    await setPolicy(undefined);
    assert.ok(await (await open('rebel')).connected(5000));
  });
});
