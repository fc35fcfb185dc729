import { setTimeout as sleep } from 'node:timers/promises';
import { agentClient } from '../agent-process.ts';
import { describeLab, workloadsText } from '../describe.ts';
import type { Lab } from '../lab.ts';
import { waitFor } from '../processes.ts';
import {
  DEATHSTARS,
  deathstarUrl,
  hasLanded,
  l7Rule1File,
  podStateOf,
  requestLandings,
  sendFrom,
} from '../star-wars.ts';
import { type Follower, showOn } from './cli.ts';
import { identityOf } from './observe.ts';
import type { DemoReport } from './report.ts';
import { type DemoOptions, importPolicy, landingText, startMonitors } from './steps.ts';

const EXHAUST_PORT = '/v1/exhaust-port';
const RESTART_LIMIT_MS = 20_000;
const MONITOR_SEES_MS = 10_000;
const LINES_SHOWN = 8;

async function showPods(lab: Lab, report: DemoReport): Promise<void> {
  report.output(`\n$ ciliate lab status\n${workloadsText((await describeLab(lab)).workloads)}`);
}

/** Step 5a: an L3/L4 policy that lets a ship land lets it do everything else, too. */
async function withoutL7(lab: Lab, report: DemoReport): Promise<void> {
  const [target] = DEATHSTARS;
  const url = deathstarUrl(lab.workload(target), 4, EXHAUST_PORT);
  const outcome = await sendFrom(lab, 'tiefighter', 'PUT', url);
  const body = outcome.kind === 'answer' ? outcome.body : outcome.kind;
  report.output(`\ntiefighter$ ciliate lab send PUT ${url}\n${body}\n`);
  report.check(
    body.startsWith('Panic: deathstar exploded'),
    `tiefighter's PUT ${EXHAUST_PORT} blows ${target} up`,
  );
  const state = (): string => JSON.stringify(podStateOf(lab, target));
  const reaches = (wanted: string): Promise<boolean> =>
    waitFor({ what: wanted, timeoutMs: RESTART_LIMIT_MS }, () =>
      state() === wanted ? true : undefined,
    ).catch(() => false);
  await reaches('{"restarts":0,"status":"Error"}');
  await showPods(lab, report);
  const restarted = await reaches('{"restarts":1,"status":"Running"}');
  await showPods(lab, report);
  report.check(restarted, `${target} was started again: RESTARTS ${podStateOf(lab, target).restarts}`);
  const back = await landsAgain(lab);
  report.check(back, `${target} serves landings again`);
}

/** The program that was started again needs a moment until it listens. */
function landsAgain(lab: Lab): Promise<boolean> {
  return waitFor({ what: 'a landing', timeoutMs: RESTART_LIMIT_MS, everyMs: 200 }, async () =>
    (await requestLandings(lab, 'tiefighter')).every(hasLanded) ? true : undefined,
  ).catch(() => false);
}

/** Step 5b: what each ship gets under the L7 policy. */
async function requests(lab: Lab, report: DemoReport): Promise<void> {
  for (const landing of await requestLandings(lab, 'tiefighter')) {
    report.check(hasLanded(landing), `POST /v1/request-landing: ${landingText(landing)}`);
  }
  for (const to of DEATHSTARS) {
    for (const family of [4, 6] as const) {
      const url = deathstarUrl(lab.workload(to), family, EXHAUST_PORT);
      const outcome = await sendFrom(lab, 'tiefighter', 'PUT', url);
      const denied =
        outcome.kind === 'answer' && outcome.status === 403 && outcome.body.trim() === 'Access denied';
      const status = outcome.kind === 'answer' ? `HTTP ${outcome.status}, ` : '';
      const text = landingText({ from: 'tiefighter', to, family, outcome });
      report.check(denied, `PUT ${EXHAUST_PORT}: ${status}${text}`);
    }
  }
  for (const landing of await requestLandings(lab, 'xwing')) {
    report.check(landing.outcome.kind === 'timeout', `POST /v1/request-landing: ${landingText(landing)}`);
  }
}

/** Lines of `monitor -t l7` about requests from the tiefighter to a deathstar. */
async function recordsOf(lab: Lab, monitors: readonly Follower[]): Promise<readonly string[]> {
  const pair = `identity ${await identityOf(lab, 'tiefighter')}->${await identityOf(lab, 'deathstar-1')}`;
  const lines = (): readonly string[] =>
    monitors.flatMap((monitor) =>
      monitor
        .text()
        .split('\n')
        .filter((line) => line.includes(pair) && line.startsWith('<- Request')),
    );
  // Four landings and four attempts; then a moment for what should not be there.
  const options = { what: 'records', timeoutMs: MONITOR_SEES_MS };
  await waitFor(options, () => (lines().length >= 8 ? true : undefined)).catch(() => undefined);
  await sleep(200);
  return lines();
}

/** Each request is shown once, with its verdict. */
function checkRecords(lines: readonly string[], report: DemoReport): void {
  report.output(`\n$ ciliate monitor -t l7\n${lines.slice(0, LINES_SHOWN).join('\n')}\n`);
  const count = (verdict: string, request: string): number =>
    lines.filter((line) => line.includes(`verdict ${verdict}`) && line.includes(request)).length;
  const forwarded = count('Forwarded', 'POST http://');
  report.check(forwarded === 4, `monitor shows ${forwarded} landings as forwarded`);
  const denied = count('Denied', 'PUT http://');
  report.check(denied === 4, `monitor shows ${denied} hits of the exhaust port as denied`);
  report.check(lines.length === 8, `monitor shows ${lines.length} requests in all`);
}

/** The L7 policy of the same name replaces the L3/L4 policy on every node, as one revision. */
async function replaceRule1(lab: Lab, options: DemoOptions): Promise<void> {
  const { report } = options;
  const clients = lab.layout.nodes.map(agentClient);
  const before = await Promise.all(clients.map(async (client) => (await client.policy()).revision ?? 0));
  const after = await importPolicy(lab, options, l7Rule1File());
  report.check(
    after.every((revision, i) => revision === (before[i] ?? 0) + 1),
    `the revision grew by one: ${before.join(', ')} -> ${after.join(', ')}`,
  );
  const [first] = lab.layout.nodes;
  if (first === undefined) return;
  const policy = await showOn(report, first, ['policy', 'get']);
  const rules = policy.match(/"endpointSelector"/g)?.length ?? 0;
  report.check(rules === 1, `policy get shows ${rules} rule: the new rule1 replaced the old one`);
  report.check(
    /"path": "\/v1\/request-landing"/.test(policy) && /"method": "POST"/.test(policy),
    'policy get shows POST /v1/request-landing',
  );
  report.check(policy.endsWith(`\nRevision: ${after[0]}\n`), `policy get ends in Revision: ${after[0]}`);
}

/** Step 5: a deathstar that blows up by what the L3/L4 policy lets through, and the L7 policy that does not. */
export async function showL7(lab: Lab, options: DemoOptions): Promise<void> {
  const { report, signal } = options;
  report.step('Requests: who may land may also hit the exhaust port, until the policy knows HTTP');
  await withoutL7(lab, report);
  signal.throwIfAborted();
  await replaceRule1(lab, options);
  signal.throwIfAborted();
  const monitors = await startMonitors(lab, 'l7');
  try {
    await requests(lab, report);
    checkRecords(await recordsOf(lab, monitors), report);
  } finally {
    await Promise.all(monitors.map((monitor) => monitor.stop()));
  }
  const restarts = DEATHSTARS.map((name) => podStateOf(lab, name).restarts);
  report.check(restarts.join() === '1,0', `no deathstar blew up again: RESTARTS ${restarts.join(', ')}`);
}
