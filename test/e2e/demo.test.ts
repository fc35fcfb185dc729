import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadBpf } from '../../bpf/addon/index.ts';
import type { Manifest } from '../../bugtool/types.ts';
import { run } from '../../src/base/run.ts';
import { openMapReader } from '../../src/datapath/map-reader.ts';
import { agentClient, ciliate } from '../../src/lab/agent-process.ts';
import { runOn } from '../../src/lab/demo/cli.ts';
import { endpointOf, identityOf, policyDrops, policyRealized } from '../../src/lab/demo/observe.ts';
import type { Lab } from '../../src/lab/lab.ts';
import {
  DEATHSTARS,
  deathstarUrl,
  hasLanded,
  podStateOf,
  requestLandings,
  rule1File,
  SHIPS,
  sendFrom,
  startStarWars,
} from '../../src/lab/star-wars.ts';
import { readPolicy, rulesText } from '../../src/policy/index.ts';
import { isClean, leftovers, snapshot } from '../support/netns.ts';
import { asNobody, bpfOrSkip, rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { readArchive } from './archive.ts';
import { acceptedConnections, linkCounters, startTestLab, type TestLab } from './lab-support.ts';

const DEMO_LIMIT_MS = 180_000;

describe('the demo command', { skip: bpfOrSkip() }, () => {
  it('passes every check, twice in a row, and leaves nothing behind', async () => {
    const name = `d${randomBytes(3).toString('hex')}`;
    const before = snapshot();
    for (const round of [1, 2]) {
      const result = await run(ciliate('demo', '--name', name), { timeoutMs: DEMO_LIMIT_MS });
      assert.equal(result.exitCode, 0, `round ${round}:\n${result.stdout}${result.stderr}`);
      assert.match(result.stdout, /^(\d+) of \1 checks hold\.$/m);
      assert.match(result.stdout, /Policy denied/);
      assert.match(result.stdout, /Revision: \d+/);
      const left = leftovers(before, new RegExp(name));
      assert.ok(isClean(left), JSON.stringify(left));
    }
  });

  const ENDS = [
    ['is interrupted', 'set -m; "$@" & sleep 4; kill -INT $!; wait $!', /interrupted by SIGINT/],
    ['loses its terminal', 'set -m; "$@" & sleep 4; kill -HUP $!; wait $!', /interrupted by SIGHUP/],
    ['is read no further', 'set -o pipefail; "$@" | head -n 4', /agent and a health agent/],
  ] as const;
  for (const [title, script, output] of ENDS) {
    it(`takes everything down when it ${title}`, async () => {
      const name = `d${randomBytes(3).toString('hex')}`;
      const before = snapshot();
      const result = await run(['bash', '-c', script, 'demo', ...ciliate('demo', '--name', name)], {
        timeoutMs: DEMO_LIMIT_MS,
      });
      assert.notEqual(result.exitCode, 0);
      assert.match(result.stdout, output);
      const left = leftovers(before, new RegExp(name));
      assert.ok(isClean(left), JSON.stringify(left));
    });
  }
});

describe('the demo command without root', { skip: rootOrSkip() }, () => {
  it('says what is missing, runs the rest, ends with what was left out and exit 3, and leaves nothing', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ciliate-nobody-'));
    chmodSync(home, 0o777);
    const before = snapshot();
    try {
      const name = `d${randomBytes(3).toString('hex')}`;
      const words = ['env', `HOME=${home}`, `TMPDIR=${home}`, ...ciliate('demo', '--name', name)];
      const result = await run(asNobody(words), { timeoutMs: DEMO_LIMIT_MS });
      assert.equal(result.exitCode, 3, `${result.stdout}${result.stderr}`);
      assert.match(result.stdout, /^Missing here: root/m);
      assert.match(result.stdout, /policy is NOT enforced/);
      assert.match(result.stdout, /model: xwing -> deathstar-1:80\/TCP denied/);
      assert.match(result.stdout, /^(\d+) of \1 checks hold\.$/m);
      assert.match(result.stdout, /^Left out, for want of root/m);
      assert.deepEqual(readdirSync(home), []);
      assert.ok(isClean(leftovers(before, new RegExp(`${name}|${home}`))));
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
});

describe('the steps of the demo, seen from outside', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;

  before(async () => {
    testLab = await startTestLab(2);
    lab = testLab.lab;
    await startStarWars(lab, () => undefined);
  });
  after(() => testLab?.tearDown());

  /** One for each deathstar and family. */
  const landingsOf = async (ship: (typeof SHIPS)[number]) => {
    const landings = await requestLandings(lab, ship);
    assert.equal(landings.length, 2 * DEATHSTARS.length);
    return landings;
  };

  it('without policy, both ships reach both deathstars over IPv4 and IPv6', async () => {
    const acceptedBefore = await Promise.all(DEATHSTARS.map((name) => acceptedConnections(lab, name)));
    for (const ship of SHIPS) {
      for (const landing of await landingsOf(ship)) assert.ok(hasLanded(landing), JSON.stringify(landing));
    }
    for (const [i, name] of DEATHSTARS.entries()) {
      const accepted = (await acceptedConnections(lab, name)) - (acceptedBefore[i] ?? 0);
      assert.equal(accepted, 4, `${name} accepted ${accepted} connections`);
    }
  });

  it('with rule1, packets of the xwing leave it and reach no deathstar, and each is counted', async () => {
    const text = rulesText(readPolicy(readFileSync(rule1File(), 'utf8'), { file: rule1File() }));
    for (const node of lab.layout.nodes) {
      const { revision = 0 } = await agentClient(node).putPolicy(text);
      await policyRealized(node, revision);
    }
    for (const landing of await landingsOf('tiefighter'))
      assert.ok(hasLanded(landing), JSON.stringify(landing));

    const counters = () => Promise.all(DEATHSTARS.map((name) => linkCounters(lab, name)));
    const [starsBefore, shipBefore, dropsBefore] = [
      await counters(),
      await linkCounters(lab, 'xwing'),
      await policyDrops(lab),
    ];
    for (const { outcome } of await landingsOf('xwing')) assert.equal(outcome.kind, 'timeout');
    const [starsAfter, shipAfter, dropsAfter] = [
      await counters(),
      await linkCounters(lab, 'xwing'),
      await policyDrops(lab),
    ];

    const sent = shipAfter.sent - shipBefore.sent;
    assert.ok(sent >= 4, `the xwing sent ${sent} packets`);
    for (const [i, name] of DEATHSTARS.entries()) {
      assert.equal(
        (starsAfter[i]?.received ?? 0) - (starsBefore[i]?.received ?? 0),
        0,
        `${name} received packets`,
      );
    }
    const drops = dropsAfter - dropsBefore;
    assert.ok(drops >= 4 && drops <= sent, `${drops} drops of ${sent} packets`);
  });

  it('has exactly the allowed peers of port 80 in the policy map of each deathstar', async () => {
    const bpf = loadBpf();
    const [tiefighter, deathstar, xwing] = await Promise.all(
      ['tiefighter', 'deathstar-1', 'xwing'].map((name) => identityOf(lab, name)),
    );
    for (const name of DEATHSTARS) {
      const node = lab.node(lab.workload(name).node);
      const maps = openMapReader(node.paths.bpfDir, bpf);
      const rows = [...maps.endpoints()].flatMap(({ endpoint }) => [...maps.policy(endpoint.id)]);
      maps.close();
      const onPort80 = rows.filter(
        ({ key, entry }) =>
          key.direction === 'ingress' &&
          key.protocol === 6 &&
          key.port === 80 &&
          entry.verdict.kind === 'allow',
      );
      const peers = onPort80.map(({ key }) => key.identity);
      assert.deepEqual(
        peers.sort((a, b) => a - b),
        [tiefighter, deathstar].sort((a, b) => (a ?? 0) - (b ?? 0)),
      );
      assert.ok(!peers.includes(xwing ?? 0));
    }
  });

  it('shows ingress enforced at the deathstars and nowhere else', async () => {
    const enabled = await Promise.all(
      [...DEATHSTARS, ...SHIPS].map(
        async (name) => (await endpointOf(lab, name)).status?.policy?.realized?.['policy-enabled'],
      ),
    );
    assert.deepEqual(enabled, ['ingress', 'ingress', 'none', 'none']);
  });

  it('packs an archive whose every file is as its manifest says', async () => {
    const file = join(lab.layout.dir, 'archive.tar.gz');
    const result = await runOn(lab.node('node1'), ['bugtool', '--output-file', file]);
    assert.equal(result.exitCode, 0, result.stderr);
    const files = await readArchive(file);
    const manifest = JSON.parse(files.get('manifest.json')?.text ?? '{}') as Manifest;
    assert.equal(manifest.complete, true);
    const listed = manifest.collectors.flatMap((collector) => collector.files);
    assert.ok(listed.length > 50, `${listed.length} files`);
    for (const { path, bytes, sha256 } of listed) {
      const found = files.get(path);
      assert.deepEqual([found?.bytes, found?.sha256], [bytes, sha256], path);
    }
    const endpoints = JSON.parse(files.get('api/endpoint.json')?.text ?? '[]') as { id: number }[];
    assert.ok(endpoints.some(({ id }) => id === lab.workload('deathstar-1').endpointId));
    assert.match(files.get('api/policy.json')?.text ?? '', /rule1/);
  });

  it('restarts a deathstar whose exhaust port was hit, and counts it', async () => {
    const url = deathstarUrl(lab.workload('deathstar-1'), 4, '/v1/exhaust-port');
    const outcome = await sendFrom(lab, 'tiefighter', 'PUT', url);
    assert.ok(outcome.kind === 'answer' && /deathstar exploded/.test(outcome.body));
    await eventually('the deathstar is back', async () => {
      const [landing] = await requestLandings(lab, 'tiefighter');
      return landing !== undefined && hasLanded(landing) ? true : undefined;
    });
    assert.deepEqual(podStateOf(lab, 'deathstar-1'), { restarts: 1, status: 'Running' });
  });
});
