import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../../src/base/errors.ts';
import { allReachable, healthStatus } from '../../src/view/health.ts';
import { printable } from '../../src/view/printable.ts';
import { BaseCommand } from '../base.ts';
import { terminalWidth } from '../support/health-flags.ts';
import { watchFlags } from '../support/watch.ts';

export default class HealthStatus extends BaseCommand<typeof HealthStatus> {
  static override summary = 'Show reachability and round-trip times from this node to every other';
  static override description =
    'A path that was not probed yet is unknown, and unknown is not healthy. Exits 1 unless every path is known to work.';
  static override flags = {
    probe: Flags.boolean({ description: 'run a round of probes now and wait for it' }),
    succinct: Flags.boolean({
      description: 'one line a node (the default; the long form needs --compat 2018)',
    }),
    verbose: Flags.boolean({ description: 'every path with its round-trip times' }),
    ...watchFlags,
  };

  async run(): Promise<void> {
    const { health } = await this.clients();
    const { probe, succinct, verbose } = this.flags;
    await this.printOrWatch(async () => {
      const status = probe ? await health.probe() : await health.status();
      const well = this.compat !== undefined || allReachable(status);
      this.exitWith(well ? ExitCode.ok : ExitCode.finding);
      const options = { compat: this.compat, succinct, verbose, width: terminalWidth() };
      return { value: status, text: () => printable(healthStatus(status, options)) };
    }, this.flags);
  }
}
