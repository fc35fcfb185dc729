import { readFileSync } from 'node:fs';
import type { MONITOR_TYPES } from '../../view/monitor.ts';
import type { Lab } from '../lab.ts';
import { waitFor } from '../processes.ts';
import type { Landing } from '../star-wars.ts';
import { type Follower, followOn, showOn } from './cli.ts';
import { policyRealized } from './observe.ts';
import type { DemoReport } from './report.ts';

export interface DemoOptions {
  readonly name: string;
  readonly labsDir: string;
  readonly report: DemoReport;
  readonly signal: AbortSignal;
}

const MONITOR_READY_MS = 10_000;

export function landingText({ from, to, family, outcome }: Landing): string {
  const flight = `${from} -> ${to} over IPv${family}`;
  if (outcome.kind === 'answer') return `${flight}: ${outcome.body.trim()}`;
  if (outcome.kind === 'timeout') return `${flight}: no answer within ${outcome.timeoutMs / 1000} s`;
  return `${flight}: ${outcome.code}`;
}

/** Starts `monitor --type TYPE` on every node, and waits until each listens. */
export async function startMonitors(
  lab: Lab,
  type: (typeof MONITOR_TYPES)[number],
): Promise<readonly Follower[]> {
  const monitors = await Promise.all(
    lab.layout.nodes.map((node) => followOn(node, ['monitor', '--type', type])),
  );
  await Promise.all(
    monitors.map((monitor) =>
      waitFor({ what: 'monitor listens', timeoutMs: MONITOR_READY_MS }, () =>
        /listening|press ctrl-c/i.test(monitor.text()) ? true : undefined,
      ),
    ),
  );
  return monitors;
}

/**
 * Shows a policy file, imports it on every node and waits until it is enforced there.
 * @returns the revision of each node, 0 where it was not taken
 */
export async function importPolicy(
  lab: Lab,
  { report, signal }: DemoOptions,
  file: string,
  what = 'rule1',
): Promise<readonly number[]> {
  report.output(`\n${readFileSync(file, 'utf8')}\n`);
  const revisions: number[] = [];
  for (const node of lab.layout.nodes) {
    const text = await showOn(report, node, ['policy', 'import', file]);
    const revision = Number(/Revision: (\d+)/.exec(text)?.[1] ?? 0);
    report.check(revision > 0, `${node.name} took ${what} as revision ${revision}`);
    await policyRealized(node, revision, signal);
    revisions.push(revision);
  }
  return revisions;
}
