import { existsSync } from 'node:fs';
import { CiliateError, ExitCode, errorText } from '../../base/errors.ts';
import { listNetns } from '../host.ts';
import { type Lab, takeDown } from '../lab.ts';
import { labLayout, netnsPrefix } from '../layout.ts';
import { missingForBpf, missingForNamespaces } from '../requirements.ts';
import { SHIPS } from '../star-wars.ts';
import { runEnforced } from './enforced.ts';
import { LEFT_OUT, runLoopback } from './loopback.ts';
import type { DemoOptions } from './steps.ts';

export { DemoReport } from './report.ts';

export interface DemoRun extends DemoOptions {
  /** Leave the lab up. */
  readonly keep: boolean;
}

const WORTH_TRYING = [
  'status --verbose',
  'endpoint list',
  'monitor --type drop',
  'health status --verbose',
  'policy get',
] as const;

function keepUp(lab: Lab, { name, report }: DemoRun): void {
  lab.finish();
  const suffix = name === 'demo' ? '' : ` --name ${name}`;
  report.output(`\nThe lab stays up. Worth trying:\n`);
  for (const words of WORTH_TRYING)
    report.output(`  bin/ciliate lab exec${suffix} node1 -- ciliate ${words}\n`);
  const target = lab.workload('deathstar-1').ipv4;
  if (lab.workload('xwing').netns !== undefined) {
    const send = `ciliate lab send POST http://${target}/v1/request-landing`;
    for (const ship of SHIPS) report.output(`  bin/ciliate lab exec${suffix} ${ship} -- ${send}\n`);
    report.output(`  bin/ciliate lab status${suffix}\n`);
  }
  report.output(`and at the end:\n  bin/ciliate lab down${suffix}\n`);
}

async function takeAllDown({ name, labsDir, report }: DemoRun): Promise<void> {
  report.step('Taking everything down');
  const layout = labLayout({ name, nodes: 1, labsDir, isolation: 'namespaces' });
  await takeDown(layout);
  const left = [...listNetns(netnsPrefix(name)), ...(existsSync(layout.dir) ? [layout.dir] : [])];
  report.check(
    left.length === 0,
    left.length === 0 ? 'nothing is left behind' : `left behind: ${left.join(', ')}`,
  );
}

function summary({ report }: DemoRun, missing: readonly string[]): void {
  const { failures, checks } = report;
  report.output(`\n${checks - failures.length} of ${checks} checks hold.\n`);
  for (const failure of failures) report.output(`  FAILED  ${failure}\n`);
  if (missing.length === 0) return;
  report.output(`Left out, for want of ${missing.join(', ')}:\n`);
  for (const part of LEFT_OUT) report.output(`  - ${part}\n`);
}

/**
 * The main job, end to end. Whatever happens, nothing is left behind unless `keep` asks for it.
 * @returns ok, finding when a check did not hold, notPermitted when only the part without root or BPF could be run;
 * the code of an error that ended it
 */
export async function runDemo(run: DemoRun): Promise<ExitCode> {
  const { report } = run;
  const missing = [...missingForNamespaces(), ...missingForBpf()];
  if (missing.length > 0) {
    report.output(
      `Missing here: ${missing.join(', ')}.\nThis runs what can be run without it; nothing is enforced.\n`,
    );
  }
  let lab: Lab | undefined;
  let stopped: ExitCode | undefined;
  try {
    await (missing.length > 0 ? runLoopback : runEnforced)(run, (made) => {
      lab = made;
    });
  } catch (cause) {
    // A terminal sends its signal to the programs that we run as well: what they fail with then is not the reason.
    const error: unknown = run.signal.aborted ? run.signal.reason : cause;
    if (error instanceof CiliateError && error.code === 'LAB_EXISTS') throw error;
    stopped = error instanceof CiliateError ? error.exitCode : ExitCode.internal;
    report.check(false, errorText(error));
    if (error instanceof CiliateError && error.hint !== undefined) report.line(error.hint);
    else if (!(error instanceof CiliateError) && error instanceof Error) report.line(error.stack ?? '');
  }
  if (run.keep && lab !== undefined && stopped === undefined) keepUp(lab, run);
  else await takeAllDown(run);
  summary(run, missing);
  if (stopped !== undefined) return stopped;
  if (report.failures.length > 0) return ExitCode.finding;
  return missing.length > 0 ? ExitCode.notPermitted : ExitCode.ok;
}
