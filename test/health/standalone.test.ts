import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packageRoot } from '../../src/base/assets.ts';
import { healthStatus } from '../../src/view/health.ts';
import { HealthMesh, MESH_METRICS_PORT, type MeshNode } from '../support/health-mesh.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually, type StartedProcess, startProcess } from '../support/process.ts';

const PORT = 4340;
const LIMIT = { timeoutMs: 40_000, everyMs: 250 };

/** What Cilium's own health agent does on a node: it listens on 4240. */
const CILIUM_HEALTH =
  "require('node:http').createServer((_, answer) => answer.end()).listen(4240, () => console.log('up'))";

/** Asks for the metrics under several names, and prints what status each got. */
const ASK = `
const { get } = require('node:http');
const hosts = ['10.66.0.1', 'localhost', 'n1', 'metrics.example', 'n2', 'evil.example', 'n1.evil.example'];
Promise.all(hosts.map((name) => new Promise((resolve, reject) => {
  const headers = { host: name + ':${MESH_METRICS_PORT}' };
  get({ host: process.argv[1], port: ${MESH_METRICS_PORT}, path: '/metrics', headers }, (answer) => {
    answer.resume();
    resolve([name, answer.statusCode]);
  }).on('error', reject);
}))).then((answers) => console.log(JSON.stringify(Object.fromEntries(answers))));
`;

describe('nodes with nothing of ours but `ciliate health --nodes`, beside a health agent on port 4240', {
  skip: rootOrSkip(),
}, () => {
  let mesh: HealthMesh;
  const others: StartedProcess[] = [];

  before(async () => {
    mesh = await HealthMesh.start({
      nodes: 2,
      port: PORT,
      zones: ['a', 'b'],
      words: ['--interval', '200ms', '--timeout', '500ms', '--allowed-host', 'metrics.example'],
    });
    for (const { netns } of mesh.nodes) {
      const argv = ['nsenter', `--net=${mesh.lab.path(netns)}`, process.execPath, '-e', CILIUM_HEALTH];
      const other = await startProcess(argv);
      others.push(other);
      await other.waitForLine(/up/);
    }
    await mesh.measured();
  });
  after(async () => {
    await Promise.all(others.map((other) => other.stop()));
    await mesh?.stop();
  });

  const shown = async ({ client }: MeshNode): Promise<string> =>
    healthStatus(await client.status(), { compat: undefined, succinct: false, verbose: false });
  const log = ({ logFile }: MeshNode): string => readFileSync(logFile, 'utf8');

  async function becomes(node: MeshNode, pattern: RegExp): Promise<void> {
    let last = '';
    await eventually(
      `status like ${pattern}`,
      async () => {
        last = await shown(node);
        return pattern.test(last) ? true : undefined;
      },
      LIMIT,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${last}`);
    });
  }

  it('hold the zones that the file tells', async () => {
    const { nodes } = await mesh.node('n1').client.matrix();
    assert.deepEqual(
      nodes.map(({ name, zone }) => [name, zone]),
      [
        ['n1', 'a'],
        ['n2', 'b'],
      ],
    );
  });

  it('tell their metrics by address, by the name of the node or one that was allowed, and by no other', async () => {
    const { netns, address } = mesh.node('n1');
    const { stdout, stderr } = await mesh.lab.exec(netns, [process.execPath, '-e', ASK, address]);
    const answers = { '10.66.0.1': 200, localhost: 200, n1: 200, 'metrics.example': 200 };
    const refused = { n2: 421, 'evil.example': 421, 'n1.evil.example': 421 };
    assert.deepEqual(JSON.parse(stdout), { ...answers, ...refused }, stderr);
  });

  it('say which port to take when 4240 is taken', async () => {
    const { netns, address } = mesh.node('n1');
    const words = [
      'health',
      '--nodes',
      mesh.nodesFile,
      '--state-dir',
      join(mesh.folder, 'x'),
      '--listen',
      `${address}:4240`,
    ];
    const main = join(packageRoot(), 'bin', 'main.ts');
    const { exitCode, stderr } = await mesh.lab.exec(netns, [process.execPath, main, ...words]);
    assert.equal(exitCode, 4, stderr);
    assert.match(stderr, /cannot answer health probes on 10\.66\.0\.1 port 4240/);
    assert.match(stderr, /--listen ADDRESS:4340 --port 4340/);
  });

  for (const [what, words, told] of [
    [
      'without --listen others take the agent for dead',
      [],
      /"level":"warn".*without --listen nobody's requests are answered/,
    ],
    [
      'they listen where nobody asks',
      ['--listen', ':4341'],
      /"level":"warn".*"listen":\[4341,4341\],"port":4340,"msg":"nodes are asked at another port/,
    ],
  ] as const)
    it(`say that ${what}`, async () => {
      const { netns } = mesh.node('n1');
      const main = join(packageRoot(), 'bin', 'main.ts');
      const own = ['health', '--nodes', mesh.nodesFile, '--state-dir', join(mesh.folder, 'deaf'), ...words];
      const argv = ['nsenter', `--net=${mesh.lab.path(netns)}`, process.execPath, main, ...own];
      const deaf = await startProcess([...argv, '--port', String(PORT), '--log-stdout']);
      await deaf.waitForLine(told);
      await deaf.stop();
    });

  it('call a peer filtered, not down, that answers HTTP and no ICMP', async () => {
    const [n1, n2] = [mesh.node('n1'), mesh.node('n2')];
    await mesh.lab.sysctl(n2.netns, 'net.ipv4.icmp_echo_ignore_all=1');
    await becomes(n1, /2\/2 reachable[\s\S]*n2 .*1\/1 \(ICMP filtered\)/);
    assert.match(log(n1), /filtered: no answer to ICMP, though HTTP answers/);
    await mesh.lab.sysctl(n2.netns, 'net.ipv4.icmp_echo_ignore_all=0');
    await becomes(n1, /n2 .*1\/1 +/);
    await becomes(n1, /2\/2 reachable(?![\s\S]*filtered)/);
  });

  it('call a peer filtered, not down, that answers ICMP and takes no connection', async () => {
    const [n1, n2] = [mesh.node('n1'), mesh.node('n2')];
    // Nothing of requests leaves there, neither its own nor what it says to others': no handshake ends.
    const rule = async (what: 'add' | 'del', end: 'sport' | 'dport'): Promise<void> => {
      const ends = ['pref', end === 'sport' ? '100' : '101', 'ipproto', 'tcp', end, String(PORT)];
      await mesh.lab.ip('-n', n2.netns, 'rule', what, ...ends, 'blackhole');
    };
    await rule('add', 'sport');
    await rule('add', 'dport');
    await becomes(n1, /2\/2 reachable[\s\S]*n2 .*1\/1 \(HTTP filtered\)/);
    assert.match(log(n1), /filtered: no connection for HTTP, though ICMP answers/);
    const verdicts = async (): Promise<string> =>
      ((await n1.client.diagnosis())?.verdicts ?? []).map(({ fault }) => fault).join();
    await eventually(
      'the verdict of n1',
      async () => (await verdicts()) === 'http-filtered' || undefined,
      LIMIT,
    );
    await rule('del', 'sport');
    await rule('del', 'dport');
    await becomes(n1, /2\/2 reachable(?![\s\S]*filtered)/);
    await eventually('no verdict of n1', async () => (await verdicts()) === '' || undefined, LIMIT);
  });

  it('call a peer down that answers neither', async () => {
    const [n1, n2] = [mesh.node('n1'), mesh.node('n2')];
    await mesh.lab.ip('-n', n2.netns, 'link', 'set', 'eth0', 'down');
    await becomes(n1, /1\/2 reachable/);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    assert.match(await shown(n1), /1\/2 reachable/);
  });
});
