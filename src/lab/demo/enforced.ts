import { basename, join } from 'node:path';
import { run } from '../../base/run.ts';
import { createLab, isAbandoned, type Lab, openLab, takeDown } from '../lab.ts';
import { labLayout } from '../layout.ts';
import { waitFor } from '../processes.ts';
import { DEATHSTARS, hasLanded, requestLandings, rule1File, SHIPS, startStarWars } from '../star-wars.ts';
import { type Follower, runOn, showOn } from './cli.ts';
import { showL7 } from './l7.ts';
import { endpointOf, healthSettled, identityOf, policyDrops, scrape } from './observe.ts';
import type { DemoReport } from './report.ts';
import { showService } from './service.ts';
import { type DemoOptions, importPolicy, landingText, startMonitors } from './steps.ts';

const MONITOR_SEES_MS = 10_000;
const METRICS_SHOWN =
  /^(cilium_drop_count_total|cilium_forward_count_total|cilium_endpoint_state|cilium_policy_max_revision|cilium_policy|cilium_identity)[{ ]/;

/** Step 3a: before any policy, every ship lands everywhere. */
async function beforePolicy(lab: Lab, report: DemoReport): Promise<void> {
  for (const ship of SHIPS) {
    for (const landing of await requestLandings(lab, ship))
      report.check(hasLanded(landing), landingText(landing));
  }
}

function deniedLines(monitors: readonly Follower[], identities: string): readonly string[] {
  const lines = monitors.flatMap((monitor) => monitor.text().split('\n'));
  return lines.filter((line) => line.includes('Policy denied') && line.includes(identities));
}

/** Step 3b: with rule1, the empire lands and the rebel's packets are dropped, which monitor and counters show. */
async function afterPolicy(lab: Lab, report: DemoReport): Promise<void> {
  const monitors = await startMonitors(lab, 'drop');
  try {
    const dropsBefore = await policyDrops(lab);
    for (const landing of await requestLandings(lab, 'tiefighter'))
      report.check(hasLanded(landing), landingText(landing));
    for (const landing of await requestLandings(lab, 'xwing')) {
      report.check(landing.outcome.kind === 'timeout', landingText(landing));
    }
    const pair = `${await identityOf(lab, 'xwing')}->${await identityOf(lab, 'deathstar-1')}`;
    const seen = await waitFor({ what: 'drops', timeoutMs: MONITOR_SEES_MS }, () => {
      const lines = deniedLines(monitors, pair);
      return lines.length > 0 ? lines : undefined;
    }).catch(() => []);
    report.output(`\n$ ciliate monitor --type drop\n${seen.slice(0, 4).join('\n')}\n`);
    report.check(
      seen.length > 0,
      `monitor shows "Policy denied" with the identities ${pair} (${seen.length} packets)`,
    );
    const drops = (await policyDrops(lab)) - dropsBefore;
    report.check(drops >= 4, `the drop counter of the BPF programs moved by ${drops}`);
  } finally {
    await Promise.all(monitors.map((monitor) => monitor.stop()));
  }
  for (const name of DEATHSTARS) {
    const enabled = (await endpointOf(lab, name)).status?.policy?.realized?.['policy-enabled'];
    report.check(enabled === 'ingress', `${name} enforces ingress (policy-enabled: ${enabled ?? 'unknown'})`);
  }
}

/** Step 6: the same by the commands that an operator has. */
async function showCommands(lab: Lab, report: DemoReport): Promise<void> {
  const [first] = lab.layout.nodes;
  if (first === undefined) return;
  const healthy = await Promise.all(lab.layout.nodes.map((node) => healthSettled(lab, node, true)));
  const status = await showOn(report, first, ['status']);
  report.check(/\bOk\b/.test(status), 'status says Ok');
  for (const node of lab.layout.nodes) {
    const list = await showOn(report, node, ['endpoint', 'list']);
    const rows = list.match(/\bready\b/g)?.length ?? 0;
    report.check(rows >= 3, `${node.name} has ${rows} endpoints that are ready`);
  }
  const identities = await showOn(report, first, ['identity', 'list']);
  report.check(/k8s:class=xwing/.test(identities), 'identity list knows the xwing');
  const policy = await showOn(report, first, ['policy', 'get']);
  report.check(/\nRevision: \d+\n$/.test(policy), 'policy get ends in its revision');
  const deathstar = lab.workload('deathstar-1');
  const entries = await showOn(report, lab.node(deathstar.node), [
    'bpf',
    'policy',
    'get',
    String(deathstar.endpointId),
  ]);
  report.check(/80\/TCP/.test(entries), 'the policy map of deathstar-1 has port 80/TCP');
  await showOn(report, first, ['health', 'status', '--verbose']);
  report.check(
    healthy.every((fine) => fine),
    'every node and every health endpoint answers ICMP and HTTP to every node',
  );
  const metrics = (await scrape(first)).split('\n').filter((line) => METRICS_SHOWN.test(line));
  report.output(
    `\n${first.name}$ curl -s http://${first.ipv4}:9962/metrics | grep -E 'drop|forward|endpoint_state|policy|identity'\n`,
  );
  report.output(`${metrics.slice(0, 24).join('\n')}\n`);
  report.check(metrics.length > 0, '/metrics has counters of the datapath');
}

const NAMES_SHOWN = 6;

/** What an archive holds, a folder a line: `api/ (42): healthz.json, config.json, ...`. */
function archiveOverview(entries: readonly string[]): string {
  const inside = entries.map((entry) => entry.slice(entry.indexOf('/') + 1));
  const folders = Map.groupBy(inside, (entry) =>
    entry.includes('/') ? `${entry.slice(0, entry.indexOf('/'))}/` : '',
  );
  const lines = [...folders].map(([folder, paths]) => {
    const names = paths.slice(0, NAMES_SHOWN).map((path) => path.slice(folder.length));
    const rest = paths.length > NAMES_SHOWN ? ', ...' : '';
    return `  ${folder === '' ? 'top' : folder} (${paths.length}): ${names.join(', ')}${rest}\n`;
  });
  return `${entries.length} files\n${lines.join('')}`;
}

/** Step 7: one archive with everything; exit 5 says that parts of it could not be had. */
export async function packArchive(
  lab: Lab,
  report: DemoReport,
  exits: readonly number[] = [0],
): Promise<void> {
  const [first] = lab.layout.nodes;
  if (first === undefined) return;
  const archive = join(lab.layout.dir, 'bugtool.tar.gz');
  const result = await runOn(first, ['bugtool', '--output-file', archive]);
  report.output(
    `\n${first.name}$ ciliate bugtool --output-file ${archive}\n${result.stdout}${result.stderr}`,
  );
  const listing = await run(['tar', '-tzf', archive], { timeoutMs: 30_000 });
  const entries = listing.stdout.split('\n').filter((entry) => entry !== '' && !entry.endsWith('/'));
  report.output(`\n$ tar -tzf ${basename(archive)}\n${archiveOverview(entries)}`);
  report.check(
    exits.includes(result.exitCode ?? -1),
    `bugtool exits ${exits.join(' or ')} (${result.exitCode ?? 'ended by a signal'})`,
  );
  for (const part of ['manifest', 'endpoint', 'policy']) {
    report.check(
      entries.some((entry) => entry.includes(part)),
      `the archive has ${part}`,
    );
  }
}

/** A lab of an earlier demo that died half-way goes; one that somebody keeps stays, and is said. */
export async function clearAbandoned({ name, labsDir, report }: DemoOptions): Promise<void> {
  const layout = labLayout({ name, nodes: 1, labsDir, isolation: 'namespaces' });
  const lab = ((): Lab | undefined => {
    try {
      return openLab(name, labsDir);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'LAB_MISSING') return undefined;
      throw error;
    }
  })();
  if (lab === undefined || !isAbandoned(lab.record)) return;
  report.line(`removing what an interrupted run left of lab ${name}`);
  await takeDown(layout);
}

/**
 * Steps 1 to 7 with namespaces and BPF.
 * @returns the lab, for the caller to keep or take down
 */
export async function runEnforced(options: DemoOptions, onLab: (lab: Lab) => void): Promise<void> {
  const { name, labsDir, report, signal } = options;
  await clearAbandoned(options);
  report.step('A cluster of two nodes: namespaces joined by links, an agent and a health agent in each');
  const lab = await createLab({
    name,
    nodes: 2,
    labsDir,
    isolation: 'namespaces',
    agent: { datapath: 'bpf' },
    onProgress: (text) => report.line(text),
    signal,
  });
  onLab(lab);
  report.step('Workloads: two deathstars, a tiefighter and an xwing');
  await startStarWars(lab, (text) => report.line(text));
  signal.throwIfAborted();
  report.step('Policy: before it every ship lands, after it only those of the empire');
  await beforePolicy(lab, report);
  signal.throwIfAborted();
  await importPolicy(lab, options, rule1File());
  await afterPolicy(lab, report);
  signal.throwIfAborted();
  await showService(lab, options);
  signal.throwIfAborted();
  await showL7(lab, options);
  report.step('What an operator sees');
  await showCommands(lab, report);
  signal.throwIfAborted();
  report.step('One archive with everything');
  await packArchive(lab, report);
}
