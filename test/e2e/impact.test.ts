import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { RunResult } from '../../src/base/run.ts';
import { agentClient } from '../../src/lab/agent-process.ts';
import { runOn } from '../../src/lab/demo/cli.ts';
import { endpointOf, policyRealized } from '../../src/lab/demo/observe.ts';
import { inNetns } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { NodeLayout } from '../../src/lab/layout.ts';
import { waitFor } from '../../src/lab/processes.ts';
import type { Zone } from '../support/dns-server.ts';
import { makeOutside, OUTSIDE } from '../support/outside.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, type StartedProcess, startProcess } from '../support/process.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const HERE = import.meta.dirname;
const BYTES = join(HERE, 'stream.mjs');
const HTTP = join(HERE, 'http-stream.mjs');
const SILENCE_MS = 1500;
const ZONE: Zone = { 'www.x.io': { a: ['192.0.2.1'] }, 'other.x.io': { a: ['192.0.2.2'] } };

interface ImpactJson {
  readonly rulesAdded: number;
  readonly endpoints: readonly { readonly endpoint: number; readonly labels: readonly string[] }[];
  readonly flows: readonly {
    readonly endpoint: number;
    readonly direction: string;
    readonly peer: string;
    readonly traffic: string;
    readonly request?: string;
    readonly before: string;
    readonly after: string;
    readonly rules: readonly string[];
  }[];
  readonly flowsSeen: number;
  readonly flowsUnjudged: number;
  readonly cutsOff: boolean;
}

const policy = (name: string, spec: string): string => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: ${name}, namespace: default }
spec:
${spec.replace(/^/gm, '  ')}
`;

/** Only the empire, and only on port 80. */
const EMPIRE_ON_80 = policy(
  'server',
  `endpointSelector: { matchLabels: { class: server } }
ingress:
- fromEndpoints: [{ matchLabels: { org: empire } }]
  toPorts: [{ ports: [{ port: "80", protocol: TCP }] }]`,
);

const REBELS_ON_80 = policy(
  'rebels',
  `endpointSelector: { matchLabels: { class: server } }
ingress:
- fromEndpoints: [{ matchLabels: { org: alliance } }]
  toPorts: [{ ports: [{ port: "80", protocol: TCP }] }]`,
);

describe('policy impact of a running node', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;
  let node: NodeLayout;
  const servers: StartedProcess[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'ciliate-impact-'));

  const serve = async (port: number, script = BYTES): Promise<void> => {
    const output = join(lab.layout.dir, `server-${port}.out`);
    await lab.runIn('server', [process.execPath, script, 'serve', String(port)], output);
    await waitFor({ what: `port ${port} serves`, timeoutMs: 10_000 }, () =>
      existsSync(output) && readFileSync(output, 'utf8').includes('serving') ? true : undefined,
    );
  };
  /** Whether the server takes a connection. */
  const connects = async (from: string, port: number): Promise<boolean> => {
    const host = lab.workload('server').ipv4 ?? '';
    const words = inNetns(lab.workload(from).netns, [process.execPath, BYTES, 'send', host, String(port)]);
    const client = await startProcess(words);
    try {
      return await client.waitForLine(/^connected$/, SILENCE_MS).then(
        () => true,
        () => false,
      );
    } finally {
      await client.stop('SIGKILL');
    }
  };
  const visit = async (name: string, type = 'A'): Promise<string> => {
    const script = join(HERE, 'look-up-and-connect.mjs');
    const argv = [process.execPath, script, OUTSIDE[4], type, name, '80'];
    return (await lab.exec('friend', argv)).stdout.trim().split('\n').at(-1) ?? '';
  };
  const file = (text: string): string => {
    const path = join(folder, 'policy.yaml');
    writeFileSync(path, text);
    return path;
  };
  const impact = (text: string, ...more: readonly string[]): Promise<RunResult> =>
    runOn(node, ['policy', 'impact', file(text), ...more]);
  const impactJson = async (text: string): Promise<ImpactJson> =>
    JSON.parse((await impact(text, '-o', 'json')).stdout) as ImpactJson;
  const doImport = async (text: string): Promise<void> => {
    const { exitCode, stderr } = await runOn(node, ['policy', 'import', file(text)]);
    assert.equal(exitCode, 0, stderr);
    await policyRealized(node, (await agentClient(node).policy()).revision ?? 0);
  };
  const idOf = async (name: string): Promise<number> => (await endpointOf(lab, name)).id ?? 0;
  /** What happened is told by events, which come a moment later. */
  const seen = (
    what: string,
    direction: string,
    endpoint: number,
    peer: RegExp,
    port: number,
  ): Promise<true> =>
    eventually(what, async () => {
      const { flows } = await agentClient(node).policyFlows();
      const addressed = (flows ?? []).filter((flow) =>
        peer.test(`${flow['remote-identity']} ${flow.destination}`),
      );
      return addressed.some(
        (flow) =>
          flow.endpoint === endpoint && flow.direction === direction && flow['destination-port'] === port,
      )
        ? true
        : undefined;
    });
  const identityOf = async (name: string): Promise<number> =>
    (await endpointOf(lab, name)).status?.identity?.id ?? 0;
  /** `direction peer traffic before->after` of each flow of an endpoint, sorted. */
  const changes = (report: ImpactJson, endpoint: number): readonly string[] =>
    report.flows
      .filter((flow) => flow.endpoint === endpoint)
      .map((flow) => {
        const peer = /class=(\w+)/.exec(flow.peer)?.[1] ?? flow.peer;
        const what = flow.request === undefined ? flow.traffic : `${flow.traffic} ${flow.request}`;
        return `${flow.direction} ${peer} ${what} ${flow.before}->${flow.after}`;
      })
      .sort();

  before(async () => {
    testLab = await startTestLab(1);
    lab = testLab.lab;
    node = lab.node('node1');
    const outside = await makeOutside(lab, ['192.0.2.1', '192.0.2.2']);
    for (const words of [
      [join(HERE, '../support/dns-server.ts'), JSON.stringify(ZONE)],
      [join(HERE, 'outside-server.mjs'), '80'],
    ])
      servers.push(await startProcess(inNetns(outside, [process.execPath, ...words])));
    for (const server of servers) await server.waitForLine(/^ready$/);
    for (const [name, org] of [
      ['server', 'empire'],
      ['friend', 'empire'],
      ['rebel', 'alliance'],
    ] as const)
      await lab.addWorkload({ name, node: 'node1', labels: [`k8s:org=${org}`, `k8s:class=${name}`] });
    for (const port of [80, 81]) await serve(port);
    await serve(8080, HTTP);
  });
  after(async () => {
    for (const server of servers) await server.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
    await testLab?.tearDown();
  });

  it('tells before the first policy which flows it cuts off, and these are what it cuts off', async () => {
    for (const [from, port] of [
      ['friend', 80],
      ['friend', 81],
      ['rebel', 80],
    ] as const)
      assert.equal(await connects(from, port), true);
    const server = await idOf('server');
    const rebel = new RegExp(`^${await identityOf('rebel')} `);
    await seen('the flow of the rebel', 'ingress', server, rebel, 80);
    const { stdout, exitCode } = await impact(EMPIRE_ON_80);
    assert.equal(exitCode, 1, stdout);
    assert.match(stdout, /^1 rule added, 0 rules removed; 1 endpoint of this node would change$/m);
    assert.match(
      stdout,
      new RegExp(`^${server} +Disabled -> Enabled +Disabled +\\+\\d+ -\\d+ .*class=server`, 'm'),
    );
    assert.match(
      stdout,
      new RegExp(`^allowed -> denied +${server} +ingress +.*class=rebel\\S* +80/TCP +1 `, 'm'),
    );
    assert.match(stdout, /^Cut off: 2 kinds of flows or requests that pass now$/m);
    assert.deepEqual(changes(await impactJson(EMPIRE_ON_80), server), [
      'ingress friend 81/TCP allowed->denied',
      'ingress rebel 80/TCP allowed->denied',
    ]);
    await doImport(EMPIRE_ON_80);
    assert.deepEqual(
      [await connects('friend', 80), await connects('friend', 81), await connects('rebel', 80)],
      [true, false, false],
    );
  });

  it('says so of a file that changes nothing', async () => {
    for (const text of [
      EMPIRE_ON_80,
      policy('others', 'endpointSelector: { matchLabels: { a: b } }\ningress: [{}]'),
    ]) {
      const { stdout, exitCode } = await impact(text);
      assert.equal(exitCode, 0, stdout);
      assert.match(stdout, /; 0 endpoints of this node would change$/m);
      assert.match(stdout, /^0 of \d+ kinds of flows and requests seen would change their verdict$/m);
      assert.match(stdout, /^Nothing would change$/m);
    }
  });

  it('tells which flows that are refused now would be let in, and these are what it lets in', async () => {
    const server = await idOf('server');
    const report = await impactJson(REBELS_ON_80);
    assert.deepEqual(changes(report, server), ['ingress rebel 80/TCP denied->allowed']);
    assert.equal(report.cutsOff, false);
    assert.equal((await impact(REBELS_ON_80)).exitCode, 0);
    await doImport(REBELS_ON_80);
    assert.deepEqual([await connects('rebel', 80), await connects('friend', 81)], [true, false]);
    const undone = await runOn(node, ['policy', 'impact', '--delete', 'cnp/default/rebels', '-o', 'json']);
    assert.deepEqual(changes(JSON.parse(undone.stdout) as ImpactJson, server), [
      'ingress rebel 80/TCP allowed->denied',
    ]);
  });

  it('tells addresses outside apart, by prefixes and by the names that were looked up', async () => {
    const friend = await idOf('friend');
    assert.equal(await visit('192.0.2.1', 'none'), 'connected');
    assert.equal(await visit('192.0.2.2', 'none'), 'connected');
    await seen('the second address', 'egress', friend, /192\.0\.2\.2:/, 80);
    const subject = 'endpointSelector: { matchLabels: { class: friend } }\n';
    const toPrefix = policy('friend', `${subject}egress: [{ toCIDR: [192.0.2.2/32] }]`);
    assert.ok(
      changes(await impactJson(toPrefix), friend).includes('egress 192.0.2.1 80/TCP allowed->denied'),
    );
    assert.ok(!changes(await impactJson(toPrefix), friend).some((line) => line.includes('192.0.2.2')));
    const names = `${subject}egress:
- toCIDR: [${OUTSIDE[4]}/32]
  toPorts: [{ ports: [{ port: "53", protocol: ANY }], rules: { dns: [{ matchPattern: "*" }] } }]
- toFQDNs: [{ matchName: www.x.io }, { matchName: other.x.io }]`;
    await doImport(policy('friend', names));
    assert.equal(await visit('www.x.io'), 'connected');
    assert.equal(await visit('other.x.io'), 'connected');
    await seen('its address', 'egress', friend, /192\.0\.2\.2:/, 80);
    const same = await impact(policy('friend', names));
    assert.match(same.stdout, /^Nothing would change$/m, same.stdout);
    const fewer = await impactJson(policy('friend', names.replace(', { matchName: other.x.io }', '')));
    assert.deepEqual(changes(fewer, friend), ['egress 192.0.2.2 other.x.io 80/TCP allowed->denied']);
    assert.equal((await runOn(node, ['policy', 'delete', 'cnp/default/friend'])).exitCode, 0);
  });

  it('tells which requests the proxy would judge otherwise', async () => {
    const server = await idOf('server');
    const http = (rules: string, port = 8080): string =>
      policy(
        'http',
        `endpointSelector: { matchLabels: { class: server } }
ingress:
- fromEndpoints: [{ matchLabels: { org: empire } }]
  toPorts: [{ ports: [{ port: "${port}", protocol: TCP }], rules: { http: [${rules}] } }]`,
      );
    const only = async (text: string): Promise<readonly string[]> =>
      changes(await impactJson(text), server).filter((line) => line.includes('8080'));
    const rules = '{ method: GET, path: "/a" }';
    await doImport(http(rules));
    for (const [method, path, answer] of [
      ['GET', '/a', /^200 /],
      ['PUT', '/b', /^403 /],
    ] as const) {
      const host = lab.workload('server').ipv4 ?? '';
      const words = [process.execPath, HTTP, 'send', host, '8080', method, path];
      const client = await startProcess(inNetns(lab.workload('friend').netns, words));
      await client.waitForLine(answer);
      await client.stop('SIGKILL');
    }
    await eventually('both requests are told of', async () => {
      const { requests } = await agentClient(node).policyFlows();
      return (requests ?? []).length >= 2 || undefined;
    });
    assert.deepEqual(await only(http(rules)), []);
    assert.match((await impact(http(rules))).stdout, /^Nothing would change$/m);
    const other = await impact(http('{ method: PUT, path: "/[ab]" }'));
    assert.equal(other.exitCode, 1);
    assert.match(other.stdout, /^allowed -> denied .* 8080\/TCP GET \/a .*the proxy denies the request/m);
    assert.deepEqual(await only(http('{ method: PUT, path: "/[ab]" }')), [
      'ingress friend 8080/TCP GET /a allowed->denied',
      'ingress friend 8080/TCP PUT /b denied->allowed',
    ]);
    const headers = http('{ method: GET, path: "/a", headers: ["X-Token: 1"] }');
    assert.deepEqual(await only(headers), ['ingress friend 8080/TCP GET /a allowed->undecided']);
    assert.match((await impact(headers)).stdout, /; 1 kind of requests would pass or not by their headers$/m);
    assert.deepEqual(await only(http(rules, 8081)), [
      'ingress friend 8080/TCP GET /a allowed->denied',
      'ingress friend 8080/TCP redirected->denied',
    ]);
  });

  it('says nothing of endpoints that are gone', async () => {
    const server = await idOf('server');
    await lab.addWorkload({ name: 'guest', node: 'node1', labels: ['k8s:class=guest'] });
    const guest = await idOf('guest');
    assert.equal(await connects('guest', 80), false);
    await seen('the guest', 'ingress', server, new RegExp(`^${await identityOf('guest')} `), 80);
    await agentClient(node).deleteEndpoint(String(guest));
    const { flows = [] } = await agentClient(node).policyFlows();
    assert.deepEqual(
      (flows ?? []).filter((flow) => flow.endpoint === guest),
      [],
    );
    const all = policy('guests', 'endpointSelector: {}\ningress: [{ fromEndpoints: [{}] }]');
    const report = await impactJson(all);
    assert.ok(report.flows.every((flow) => flow.endpoint !== guest));
  });

  it('names the agent that is not there with 4', async () => {
    const { exitCode, stderr, stdout } = await impact(EMPIRE_ON_80, '-H', 'unix:///nonexistent/ciliate.sock');
    assert.deepEqual([exitCode, stdout], [4, '']);
    assert.match(stderr, /is the agent running/);
  });
});
