import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { agentClient } from '../../src/lab/agent-process.ts';
import { runOn } from '../../src/lab/demo/cli.ts';
import { policyRealized } from '../../src/lab/demo/observe.ts';
import { inNetns } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from '../../src/lab/processes.ts';
import { DropReason, dropReasonText } from '../../src/model/constants.gen.ts';
import { readPolicy, rulesText } from '../../src/policy/index.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, isAlive, type StartedProcess, startProcess } from '../support/process.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const HTTP = join(import.meta.dirname, 'http-stream.mjs');
const NAMES = join(import.meta.dirname, 'tls-names.mjs');
const BYTES = join(import.meta.dirname, 'stream.mjs');
const BPF = { datapath: 'bpf' } as const;

/** The empire may GET what `paths` matches on port 80, and do anything on port 81. */
function policyOf(paths: string, more = ''): string {
  const text = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: gets }
spec:
  endpointSelector: { matchLabels: { class: server } }
  ingress:
  - fromEndpoints: [{ matchLabels: { org: empire } }]
    toPorts:
    - ports: [{ port: "80", protocol: TCP }]
      rules: { http: [{ method: GET, path: "${paths}" }] }
    - ports: [{ port: "81", protocol: TCP }]
${more}`;
  return rulesText(readPolicy(text, { file: 'gets' }));
}

/** A client of `http-stream.mjs` or `stream.mjs` in a workload. */
class Client {
  readonly #process: StartedProcess;

  constructor(process: StartedProcess) {
    this.#process = process;
  }

  lines(): readonly string[] {
    return this.#process.output().split('\n').slice(0, -1);
  }

  /** Waits for a line that comes after the first `from` ones. */
  sees(pattern: RegExp, from = this.lines().length, timeoutMs = 10_000): Promise<string> {
    const found = (): string | undefined =>
      this.lines()
        .slice(from)
        .find((line) => pattern.test(line));
    return eventually(String(pattern), found, { timeoutMs });
  }

  stop(): Promise<unknown> {
    return this.#process.stop('SIGKILL');
  }
}

describe('requests under policy, with agent and proxy killed and policies that change', {
  skip: bpfOrSkip(),
}, () => {
  let testLab: TestLab;
  let lab: Lab;
  const clients: Client[] = [];

  const start = async (from: string, argv: readonly string[]): Promise<Client> => {
    const words = inNetns(lab.workload(from).netns, [process.execPath, ...argv]);
    const client = new Client(await startProcess(words));
    clients.push(client);
    return client;
  };
  const address = (): string => lab.workload('server').ipv4 ?? '';
  const ask = (from: string, method: string, path: string): Promise<Client> =>
    start(from, [HTTP, 'send', address(), '80', method, path]);
  const serve = async (script: string, port: number): Promise<string> => {
    const output = join(lab.layout.dir, `server-${port}.out`);
    await lab.runIn('server', [process.execPath, script, 'serve', String(port)], output);
    await waitFor({ what: `port ${port} serves`, timeoutMs: 10_000 }, () =>
      existsSync(output) && readFileSync(output, 'utf8').includes('serving') ? true : undefined,
    );
    return output;
  };
  const setPolicy = async (text: string): Promise<void> => {
    for (const node of lab.layout.nodes) {
      const { revision = 0 } = await agentClient(node).putPolicy(text);
      await policyRealized(node, revision);
    }
  };
  const pidOf = (name: 'agent' | 'proxy'): number => {
    const [node] = lab.layout.nodes;
    const file = name === 'agent' ? 'agent.pid' : 'proxy.started.json';
    const text = readFileSync(join(node?.paths.pidDir ?? '', file), 'utf8');
    return Number(/\d+/.exec(name === 'agent' ? text : (/"pid":\s*\d+/.exec(text)?.[0] ?? ''))?.[0]);
  };
  const kill = async (pid: number): Promise<void> => {
    process.kill(pid, 'SIGKILL');
    await eventually(`${pid} is gone`, () => (isAlive(pid) ? undefined : true));
  };
  let served = '';
  const requests = (): readonly string[] => readFileSync(served, 'utf8').split('\n').slice(1, -1);

  before(async () => {
    testLab = await startTestLab(1);
    lab = testLab.lab;
    const add = (name: string, org: string): Promise<unknown> =>
      lab.addWorkload({ name, node: 'node1', labels: [`k8s:org=${org}`, `k8s:class=${name}`] });
    await add('server', 'empire');
    await add('friend', 'empire');
    await add('rebel', 'alliance');
    served = await serve(HTTP, 80);
    await serve(BYTES, 81);
    await setPolicy(policyOf('/a'));
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.stop();
  });
  after(() => testLab?.tearDown());

  it('a policy that changes takes effect on the next request of a connection that stays open', async () => {
    const client = await ask('friend', 'GET', '/a');
    await client.sees(/^200 1$/);
    await setPolicy(policyOf('/b'));
    const changed = client.lines().length;
    await client.sees(/^403 1$/, changed);
    // One answer may have been under way.
    await eventually('more answers', () => client.lines().length > changed + 10 || undefined);
    const late = client.lines().slice(client.lines().indexOf('403 1'));
    assert.deepEqual([...new Set(late)], ['403 1']);
    await setPolicy(policyOf('/a'));
    await client.sees(/^200 1$/);
  });

  it('a peer that may no more loses its open connection at once, and others do not', async () => {
    const client = await ask('friend', 'GET', '/a');
    await client.sees(/^200 1$/);
    await setPolicy(
      policyOf('/a', '  ingressDeny:\n  - fromEndpoints: [{ matchLabels: { class: friend } }]\n'),
    );
    const cut = requests().length;
    await client.sees(/^error/);
    await client.sees(/^error/);
    assert.ok(requests().length - cut <= 1, `${requests().length - cut} requests passed`);
    assert.ok(!client.lines().at(-1)?.startsWith('200'));
    await setPolicy(policyOf('/a'));
    await client.sees(/^200 /);
  });

  it('corner case 35: while policies change under load nothing opens and nothing closes in between', async () => {
    const allowed = await ask('friend', 'GET', '/a');
    const denied = await ask('friend', 'PUT', '/never');
    const outsider = await ask('rebel', 'GET', '/outsider');
    await allowed.sees(/^200 1$/);
    await denied.sees(/^403 /);
    await outsider.sees(/^error/, 0);
    const [from, deniedFrom] = [allowed.lines().length, denied.lines().length];
    for (let i = 0; i < 30; i++) {
      await setPolicy(
        policyOf(['/a', '/a|/b', '/a.*'][i % 3] ?? '/a', i % 2 === 0 ? '' : '  - fromEntities: [health]\n'),
      );
    }
    const seen = [...new Set(allowed.lines().slice(from))];
    assert.deepEqual(seen, ['200 1'], 'every allowed request was answered, on one connection');
    const answers = new Set(
      denied
        .lines()
        .slice(deniedFrom)
        .map((line) => line.split(' ')[0]),
    );
    assert.deepEqual([...answers], ['403']);
    await outsider.sees(/^error/);
    const kinds = new Set(outsider.lines().map((line) => line.split(' ')[0]));
    assert.deepEqual([...kinds], ['error']);
    const served = requests();
    assert.ok(served.includes('GET /a'));
    assert.deepEqual(
      served.filter((line) => /never|outsider/.test(line)),
      [],
    );
    await setPolicy(policyOf('/a'));
  });

  it('corner case 40: without its agent, killed amid an update, requests are judged on, and a restart converges', async () => {
    const client = await ask('friend', 'GET', '/a');
    await client.sees(/^200 1$/);
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const update = agentClient(node)
      .putPolicy(policyOf('/a|/c'))
      .catch(() => undefined);
    await kill(pidOf('agent'));
    await update;
    const alone = client.lines().length;
    const other = await ask('friend', 'PUT', '/a');
    await other.sees(/^403 /);
    await client.sees(/^200 1$/);
    await lab.startAgent(node.name, BPF);
    await policyRealized(node, (await agentClient(node).policy()).revision ?? 0);
    await client.sees(/^200 1$/);
    assert.deepEqual([...new Set(client.lines().slice(alone))], ['200 1'], 'no request was lost');
    await setPolicy(policyOf('/a'));
  });

  it('a connection with TLS passes by the name that it asks for, and only by it', async () => {
    await serve(NAMES, 443);
    await setPolicy(
      policyOf('/a', '    - ports: [{ port: "443", protocol: TCP }]\n      serverNames: ["*.example.org"]\n'),
    );
    const askFor = (name: string): Promise<Client> => start('friend', [NAMES, 'ask', address(), '443', name]);
    await (await askFor('www.example.org')).sees(/^hello www\.example\.org$/, 0);
    await (await askFor('www.example.com')).sees(/^error ECONNRESET$/, 0);
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const redirects = JSON.parse((await runOn(node, ['status', '-o', 'json'])).stdout) as {
      proxy?: { redirects?: readonly { proxy?: string }[] };
    };
    assert.ok(redirects.proxy?.redirects?.some(({ proxy }) => proxy === 'tls'));
    await setPolicy(policyOf('/a'));
  });

  it('corner case 29: what a pod sends to its own address never leaves it, and no policy stops it', async () => {
    const closed =
      '- endpointSelector: {matchLabels: {class: rebel}}\n  ingress: [{}]\n  egress: [{}]\n  labels: ["k8s:shut=rebel"]\n';
    await setPolicy(rulesText(readPolicy(closed, { file: 'closed' })));
    const output = join(lab.layout.dir, 'rebel.out');
    await lab.runIn('rebel', [process.execPath, BYTES, 'serve', '82'], output);
    await waitFor({ what: 'the rebel serves', timeoutMs: 10_000 }, () =>
      existsSync(output) && readFileSync(output, 'utf8').includes('serving') ? true : undefined,
    );
    const own = lab.workload('rebel').ipv4 ?? '';
    await (await start('rebel', [BYTES, 'send', own, '82'])).sees(/^connected/, 0);
    const other = await start('friend', [BYTES, 'send', own, '82']);
    await assert.rejects(other.sees(/^connected/, 0, 1500), /not within 1500 ms/);
    assert.deepEqual(other.lines(), []);
    await agentClient(lab.layout.nodes[0] ?? assert.fail()).deletePolicy(['k8s:shut=rebel']);
  });

  it('without proxy, redirected flows are dropped and counted as 178, others lose nothing, and it comes back', async () => {
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const stream = await start('friend', [BYTES, 'send', address(), '81']);
    await stream.sees(/^\d+ \d+$/);
    const client = await ask('friend', 'GET', '/a');
    await client.sees(/^200 1$/);
    // The agent would start the proxy again at once.
    await kill(pidOf('agent'));
    await kill(pidOf('proxy'));
    const [cut, from] = [requests().length, stream.lines().length];
    const fresh = await ask('friend', 'GET', '/a');
    for (const one of [fresh, client, fresh, client]) await one.sees(/^error/);
    assert.equal(requests().length, cut, 'no request passed');
    const metrics = await runOn(node, ['bpf', 'metrics', 'list', '-o', 'json']);
    const counters = JSON.parse(metrics.stdout) as { reason: string; packets: number }[];
    const reasons = counters.map(({ reason, packets }) => `${reason}: ${packets}`).join(', ');
    const dropped = counters.find(({ reason }) => reason === dropReasonText[DropReason.proxyLookupFailed]);
    assert.ok((dropped?.packets ?? 0) > 0, reasons);
    await lab.startAgent(node.name, BPF);
    await fresh.sees(/^200 /, undefined, 20_000);
    const put = await ask('friend', 'PUT', '/a');
    await put.sees(/^403 /);
    const gaps = stream
      .lines()
      .slice(from)
      .map((line) => Number(line.split(' ')[1]));
    assert.ok(gaps.length > 0, 'the other stream tells of its pauses');
    assert.ok(Math.max(...gaps) < 200, `the other stream paused for ${Math.max(...gaps)} ms`);
  });
});
