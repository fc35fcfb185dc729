import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../../src/base/errors.ts';
import { parseInteger } from '../../src/base/option-parsers.ts';
import { PROBE_COUNT, PROBE_COUNT_MAX, probeRunMs } from '../../src/model/health-probe-run.ts';
import { allAnswered, probeText } from '../../src/view/health-lists.ts';
import { BaseCommand } from '../base.ts';
import { checked } from '../support/checked.ts';
import { durationFlagFrom } from '../support/duration-flag.ts';
import { terminalWidth } from '../support/health-flags.ts';

/** For the answer to travel, beyond the time that the probes may take. */
const ANSWER_MS = 10_000;
const timeoutFlag = durationFlagFrom({ leastMs: 1, bareUnit: 's' });
const countFlag = Flags.custom<number>({
  parse: checked(parseInteger(1, PROBE_COUNT_MAX)),
});

export default class HealthProbe extends BaseCommand<typeof HealthProbe> {
  static override summary =
    'Probe the paths from this node to others now, and show what came of these probes';
  static override description =
    'Without a name: all other nodes. The usual probes go on meanwhile and are counted too. Exits 0 when every path answered, 1 when one did not answer at all, 5 when the time was over before all probes had an outcome.';
  static override strict = false;
  static override usage = 'health probe [NODE...] [flags]';
  static override examples = ['<%= config.bin %> health probe n2 n3 --count 20'];
  static override flags = {
    count: countFlag({
      char: 'c',
      description: `probes to each path, 1 to ${PROBE_COUNT_MAX}`,
      default: PROBE_COUNT,
    }),
    timeout: timeoutFlag({
      char: 't',
      description: 'for all of them, 60s at most (default: by their number)',
    }),
  };

  async run(): Promise<void> {
    const { count, timeout } = this.flags;
    const { health } = await this.clients();
    const request = {
      nodes: [...this.words],
      count,
      ...(timeout === undefined ? {} : { 'timeout-ms': timeout }),
    };
    const report = await health.probeNodes(request, (timeout ?? probeRunMs(count)) + ANSWER_MS);
    if (!report.complete) this.exitWith(ExitCode.partial);
    else if (!allAnswered(report)) this.exitWith(ExitCode.finding);
    await this.print(report, () => probeText(report, { ...this.view, width: terminalWidth() }));
  }
}
