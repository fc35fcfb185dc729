import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../../src/base/errors.ts';
import { allReachable, healthStatus } from '../../src/view/health.ts';
import { BaseCommand } from '../base.ts';

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
  };

  async run(): Promise<void> {
    const { health } = await this.clients();
    const { probe, succinct, verbose } = this.flags;
    const status = probe ? await health.probe() : await health.status();
    if (this.compat === undefined && !allReachable(status)) this.exitWith(ExitCode.finding);
    await this.print(status, () => healthStatus(status, { compat: this.compat, succinct, verbose }));
  }
}
