import { readFileSync } from 'node:fs';
import type { Identity } from '../../model/identity.ts';
import { createLab, type Lab } from '../lab.ts';
import { DEATHSTARS, rule1File, SHIPS, startStarWars } from '../star-wars.ts';
import { showOn } from './cli.ts';
import { clearAbandoned, packArchive } from './enforced.ts';
import { endpointOf, healthSettled, policyRealized, scrape } from './observe.ts';
import type { DemoReport } from './report.ts';
import type { DemoOptions } from './steps.ts';
import { modelIdentity, modelVerdicts } from './verdicts.ts';

const METRICS_SHOWN =
  /^(cilium_endpoint_state|cilium_policy_max_revision|cilium_policy|cilium_identity|cilium_version)[{ ]/;

/** What a run without namespaces and BPF does not show. */
export const LEFT_OUT = [
  'the BPF datapath: nothing was enforced, no packet was dropped or counted',
  'workloads in namespaces of their own: the endpoints had labels, identities and addresses, and no traffic',
  'health endpoints, and paths through the datapath',
  '`monitor` of packets, `bpf ...` of maps',
] as const;

async function identityOf(
  lab: Lab,
  name: string,
): Promise<{ readonly name: string; readonly identity: Identity }> {
  return { name, identity: modelIdentity((await endpointOf(lab, name)).status?.identity ?? {}) };
}

/** The policy imported by the real command, and what the model says to each ship. */
async function policyByModel(lab: Lab, { report, signal }: DemoOptions): Promise<void> {
  const file = rule1File();
  const [first] = lab.layout.nodes;
  if (first === undefined) return;
  await showOn(report, first, ['policy', 'validate', file]);
  for (const node of lab.layout.nodes) {
    const text = await showOn(report, node, ['policy', 'import', file]);
    const revision = Number(/Revision: (\d+)/.exec(text)?.[1] ?? 0);
    report.check(revision > 0, `${node.name} took rule1 as revision ${revision}`);
    await policyRealized(node, revision, signal);
  }
  const ships = await Promise.all(SHIPS.map((name) => identityOf(lab, name)));
  const targets = await Promise.all(DEATHSTARS.map((name) => identityOf(lab, name)));
  const questions = ships.flatMap((from) => targets.map((to) => ({ from, to, port: 80 })));
  for (const verdict of modelVerdicts(readFileSync(file, 'utf8'), file, questions)) {
    const expected = verdict.from === 'tiefighter';
    const said = verdict.allowed ? 'allowed' : 'denied';
    const holds = verdict.agreed && verdict.allowed === expected;
    report.check(holds, `model: ${verdict.from} -> ${verdict.to}:${verdict.port}/TCP ${said}`);
  }
}

async function showCommands(lab: Lab, report: DemoReport): Promise<void> {
  const [first] = lab.layout.nodes;
  if (first === undefined) return;
  const healthy = await Promise.all(lab.layout.nodes.map((node) => healthSettled(lab, node, false)));
  const status = await showOn(report, first, ['status']);
  report.check(/\bOk\b/.test(status), 'status says Ok');
  for (const node of lab.layout.nodes) {
    const list = await showOn(report, node, ['endpoint', 'list']);
    const rows = list.match(/\bready\b/g)?.length ?? 0;
    report.check(rows >= 2, `${node.name} has ${rows} endpoints that are ready`);
  }
  await showOn(report, first, ['identity', 'list']);
  const policy = await showOn(report, first, ['policy', 'get']);
  report.check(/\nRevision: \d+\n$/.test(policy), 'policy get ends in its revision');
  // Where ICMP is not allowed either, its half of each path is unknown, and unknown is not healthy.
  await showOn(report, first, ['health', 'status', '--verbose'], [0, 1]);
  report.check(
    healthy.every((fine) => fine),
    'every node answers HTTP to every node',
  );
  const metrics = (await scrape(first)).split('\n').filter((line) => METRICS_SHOWN.test(line));
  report.output(
    `\n${first.name}$ curl -s http://${first.ipv4}:9962/metrics\n${metrics.slice(0, 16).join('\n')}\n`,
  );
  report.check(metrics.length > 0, '/metrics answers');
}

/** The steps that need neither root nor BPF, on loopback addresses. */
export async function runLoopback(options: DemoOptions, onLab: (lab: Lab) => void): Promise<void> {
  const { name, labsDir, report, signal } = options;
  await clearAbandoned(options);
  report.step('Two agents on loopback addresses, with `--datapath none`: nothing is enforced');
  const lab = await createLab({
    name,
    nodes: 2,
    labsDir,
    isolation: 'loopback',
    agent: { datapath: 'none' },
    onProgress: (text) => report.line(text),
    signal,
  });
  onLab(lab);
  report.step('Endpoints: two deathstars, a tiefighter and an xwing');
  await startStarWars(lab, (text) => report.line(text));
  signal.throwIfAborted();
  report.step("Policy rule1, and the model's verdicts");
  await policyByModel(lab, options);
  signal.throwIfAborted();
  report.step('What an operator sees');
  await showCommands(lab, report);
  signal.throwIfAborted();
  report.step('One archive with everything');
  // Collectors that need root have nothing to give.
  await packArchive(lab, report, [0, 5]);
}
