import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { HealthDiagnosis, HealthMatrix, HealthPair, HealthProbeReport } from '../../src/api/schema.ts';
import { HealthMesh } from '../support/health-mesh.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { answerJson, cli, FakeNode, type Outcome } from './cli.ts';

const WAIT = { timeoutMs: 60_000, everyMs: 500 };

describe('health commands on a cluster of three nodes', { skip: rootOrSkip() }, () => {
  let mesh: HealthMesh | undefined;

  before(async () => {
    mesh = await HealthMesh.start({ nodes: 3 });
    await mesh.measured();
  });
  after(() => mesh?.stop());

  function node(name: string) {
    assert.ok(mesh);
    return mesh.node(name);
  }

  function run(at: string, words: string): Promise<Outcome> {
    return cli(['health', ...words.split(' '), '--state-dir', stateDir(at)]);
  }

  it('keep to COLUMNS below 80', async () => {
    for (const words of ['status', 'path n2', 'matrix', 'matrix --node n2', 'mtu', 'history', 'diagnose']) {
      const argv = ['health', ...words.split(' '), '--state-dir', stateDir('n1')];
      const { stdout, stderr } = await cli(argv, { env: { COLUMNS: '40' } });
      const widest = Math.max(...stdout.split('\n').map((line) => [...line].length));
      assert.ok(stdout !== '' && widest <= 40, `${words}: ${widest}\n${stdout}${stderr}`);
    }
  });

  function stateDir(name: string): string {
    return node(name).socket.replace(/\/health\.sock$/, '');
  }

  it('matrix shows every pair from any node, in text and as JSON', async () => {
    const wholeAt = (name: string): Promise<string> =>
      eventually(
        `all rows are at ${name}`,
        async () => {
          const { stdout } = await run(name, 'matrix');
          return /^3 nodes, 6 pairs probed: 6 reachable\n/.test(stdout) ? stdout : undefined;
        },
        WAIT,
      );
    const whole = await wholeAt('n2');
    await Promise.all(['n1', 'n3'].map(wholeAt));
    assert.match(whole, /^1 n\d +2\/2 +2\/2 \\\.\.$/m);
    const rtt = await run('n3', 'matrix --metric rtt');
    assert.equal(rtt.code, 0, rtt.stderr);
    const json = await run('n1', 'matrix -o json');
    assert.equal((JSON.parse(json.stdout) as HealthMatrix).nodes.length, 3);
    await eventually(
      'both directions are timed',
      async () => {
        const { stdout } = await run('n1', 'matrix --node n2');
        return /^n1 +reachable +[\d.]+ +0 +reachable +[\d.]+ +0$/m.test(stdout) || undefined;
      },
      WAIT,
    );
    assert.equal((await run('n1', 'matrix -o jsonpath={.self}')).stdout, 'n1\n');
    assert.match((await run('n1', 'matrix -o yaml')).stdout, /^self: n1$/m);
  });

  it('path shows what is measured here, and asks the other node of what begins there', async () => {
    const own = await run('n1', 'path n2');
    assert.match(own.stdout, /^n1 -> n2: .* \(measured here\)$/m);
    assert.match(own.stdout, /^host-host icmp IPv4 +10\.66\.0\.2 +reachable +\d/m);
    assert.match(own.stdout, /^ {4}parts of the last: .*total/m);
    const asked = await run('n1', 'path n2 n3');
    assert.match(asked.stdout, /^n2 -> n3: .* \(told by n2\)$/m);
    const json = JSON.parse((await run('n1', 'path n2 n3 -o json')).stdout) as HealthPair;
    assert.equal(json.source, 'asked');
    assert.ok((json.paths ?? []).length >= 2);
  });

  it('probe counts probes of its own', async () => {
    const { stdout, code, stderr } = await run('n1', 'probe n2 n3 --count 3 -o json');
    const report = JSON.parse(stdout) as HealthProbeReport;
    assert.equal(report.complete, true, stdout + stderr);
    const icmp = (report.paths ?? []).filter(({ kind }) => kind === 'host-host/icmp');
    assert.deepEqual(icmp.map(({ peer }) => peer).sort(), ['n2', 'n3']);
    for (const { sent, answered, lost } of icmp) assert.ok(sent >= 3 && answered >= 3 && lost === 0);
    assert.ok(code === 0 || code === 1);
    assert.match(
      (await run('n1', 'probe n2 -c 1')).stdout,
      /^n2 +host-host icmp IPv4 +10\.66\.0\.2 +\d\/\d/m,
    );
  });

  it('probe prints what there is when the time is over, and exits 5', async () => {
    const { stdout, code } = await run('n1', 'probe n2 --count 50 --timeout 300ms');
    assert.equal(code, 5, stdout);
    assert.match(stdout, /^Partial: after \d+ ms \d+ paths? had not all outcomes\.$/m);
    assert.match(stdout, /host-host icmp IPv4/);
  });

  it('history shows changes of state, and since when', async () => {
    const all = await run('n1', 'history');
    assert.equal(all.code, 0);
    assert.match(all.stdout, /n2 +host-host icmp IPv4 +10\.66\.0\.2 +unknown -> reachable/);
    const none = await run('n1', 'history --since 0s');
    assert.match(none.stdout, /^No path changed its state since /);
    const one = await run('n1', 'history --node n3');
    assert.doesNotMatch(one.stdout, /^.* n2 /m);
  });

  it('mtu lists the paths that carry packets', async () => {
    const { stdout } = await run('n1', 'mtu --node n2');
    assert.match(stdout, /^n2 +host-host icmp IPv4 +10\.66\.0\.2 /m);
  });

  it('ready opens when a node has measured its peers', async () => {
    for (const [words, told] of [
      ['ready n2', 'n2 is ready'],
      ['ready', 'n1 is ready'],
    ] as const) {
      const ready = await eventually(
        told,
        async () => {
          const outcome = await run('n1', words);
          return outcome.code === 0 ? outcome : undefined;
        },
        WAIT,
      );
      assert.equal(ready.stdout, `${told}\n`);
    }
  });

  it('name the node that was probably meant, and exit 2', async () => {
    for (const words of [
      'path n33',
      'path n1 n33',
      'matrix --node n33',
      'mtu --node n33',
      'ready n33',
      'probe n33',
    ]) {
      const { code, stderr, stdout } = await run('n1', words);
      assert.equal(code, 2, words);
      assert.equal(stdout, '');
      assert.match(stderr, /no node "n33" in the node list; did you mean n3\?/, words);
    }
    assert.equal((await run('n1', 'history --since yesterday')).code, 2);
    assert.equal((await run('n1', 'probe n2 --count 0')).code, 2);
    assert.equal((await run('n1', 'probe n2 --timeout 2m')).code, 2);
  });

  for (const [words, holds] of [
    ['status', /"nodes":/],
    ['get', /"uptime":|"load":|"disk"/],
    ['history --since 1h', /"peer": ?"n2"/],
    ['mtu --node n2', /"peer": ?"n2"/],
    ['ready n2', /"ready": ?true/],
  ] as const)
    it(`${words} is JSON with -o json`, async () => {
      const { stdout, stderr } = await run('n1', `${words} -o json`);
      assert.equal(stderr, '');
      assert.match(JSON.stringify(JSON.parse(stdout)), holds);
    });

  for (const [words, shown] of [
    ['status', 'Cluster health: '],
    ['matrix', 'n3'],
    ['path n2', 'host-host'],
    ['diagnose', 'healthy'],
  ] as const)
    it(`${words} --watch goes on until it is interrupted`, async () => {
      const argv = ['health', ...words.split(' '), '--watch', '--every', '100ms'];
      const outcome = await cli([...argv, '--state-dir', stateDir('n1')], { interruptAt: shown });
      assert.ok(outcome.stdout.includes(shown), outcome.stdout);
      assert.ok(outcome.code === 0 || outcome.code === 1, outcome.stderr);
    });

  it('tell from all others that a node is dead: diagnose, path, ready and matrix', async () => {
    const before = await eventually(
      'the cluster is healthy',
      async () => ((await run('n1', 'diagnose')).code === 0 ? true : undefined),
      WAIT,
    );
    assert.ok(before);
    await node('n3').agent.stop('SIGKILL');
    assert.ok(mesh);
    await mesh.lab.ip('-n', node('n3').netns, 'link', 'set', 'eth0', 'down');
    for (const at of ['n1', 'n2']) {
      const found = await eventually(
        `${at} names n3`,
        async () => {
          const outcome = await run(at, 'diagnose -o json');
          const diagnosis = JSON.parse(outcome.stdout) as HealthDiagnosis;
          const verdict = diagnosis.verdicts?.find(({ fault }) => fault === 'node-down');
          return verdict?.place.node === 'n3' ? { outcome, verdict } : undefined;
        },
        WAIT,
      );
      assert.equal(found.outcome.code, 1);
      assert.ok(found.verdict.what.includes('n3') && (found.verdict.next ?? []).length > 0);
    }
    const text = await run('n1', 'diagnose');
    assert.equal(text.code, 1);
    assert.match(text.stdout, /^The cluster is (broken|degraded)\./);
    assert.match(text.stdout, /since: +\d{4}-/);
    const path = await run('n1', 'path n3 n2');
    assert.equal(path.code, 1);
    assert.match(path.stdout, /^n3 -> n2: n3 cannot be asked \(.+\); its last row says:$/m);
    assert.equal((await run('n1', 'ready n3')).code, 1);
    assert.equal((await run('n1', 'ready n2')).code, 0, 'n2 is not to blame');
    assert.match((await run('n2', 'matrix')).stdout, /^1 n3 /m);
    const probe = await run('n1', 'probe n3 -c 2');
    assert.equal(probe.code, 1, probe.stdout);
  });
});

describe('health commands and a health agent that does not have them', () => {
  const old = new FakeNode();
  before(() =>
    old.serve('health.sock', (_seen, response) =>
      answerJson(response, 404, { code: 404, message: 'path was not found' }),
    ),
  );
  after(() => old.close());

  for (const words of ['matrix', 'path n2', 'diagnose', 'history', 'mtu', 'probe n2', 'ready']) {
    it(`${words} says that it is old, and exits 4`, async () => {
      const { code, stderr, stdout } = await cli([
        'health',
        ...words.split(' '),
        '--state-dir',
        old.stateDir,
      ]);
      assert.equal(code, 4);
      assert.equal(stdout, '');
      assert.match(stderr, /health\.sock does not know (GET|PUT) \/v1beta\//);
      assert.match(stderr, /older than this command/);
    });
  }

  it('says where it looked when there is none, and exits 4', async () => {
    const { code, stderr } = await cli(['health', 'diagnose', '--state-dir', '/nonexistent']);
    assert.equal(code, 4);
    assert.match(stderr, /cannot reach the health agent at .*health\.sock/);
  });
});

describe('health commands and a health agent that lies', () => {
  const liar = new FakeNode();
  let body = '';
  before(() => liar.serve('health.sock', (_seen, response) => answerJson(response, 200, body)));
  after(() => liar.close());

  const COMMANDS = [
    'matrix',
    'matrix --node n1',
    'path n2',
    'diagnose',
    'history',
    'mtu',
    'probe n2',
    'ready',
  ];
  const WRONG = {
    nodes: 7,
    kinds: 7,
    cells: 7,
    paths: 7,
    verdicts: 7,
    changes: 7,
    silent: 7,
    reasons: 7,
    state: 7,
  };
  for (const lie of ['null', '[]', JSON.stringify(WRONG)]) {
    it(`${lie} for an object is its fault, not ours`, async () => {
      body = lie;
      await Promise.all(
        COMMANDS.map(async (words) => {
          const { code, stderr } = await cli(['health', ...words.split(' '), '--state-dir', liar.stateDir]);
          assert.doesNotMatch(stderr, /^ {4}at /m, words);
          assert.ok(
            code === 4 || (lie.startsWith('{') && (code === 0 || code === 1 || code === 5)),
            `${words}: ${code} ${stderr}`,
          );
        }),
      );
    });
  }
});
