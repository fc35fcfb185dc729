import { ExitCode } from '../../src/base/errors.ts';
import { diagnoseText } from '../../src/view/health-diagnose.ts';
import { BaseCommand } from '../base.ts';
import { terminalWidth } from '../support/health-flags.ts';
import { watchFlags } from '../support/watch.ts';

export default class HealthDiagnose extends BaseCommand<typeof HealthDiagnose> {
  static override summary =
    'Say what is broken in the cluster, where, since when, how sure that is, and what to look at next';
  static override description =
    'Judged from the rows of all nodes; the answer is the same from any node that works. Exits 0 when the cluster is healthy, 1 when it is not or when that is not known.';
  static override flags = watchFlags;

  async run(): Promise<void> {
    const { health } = await this.clients();
    await this.printOrWatch(async () => {
      const diagnosis = await health.diagnosis();
      this.exitWith(diagnosis.state === 'healthy' ? ExitCode.ok : ExitCode.finding);
      return {
        value: diagnosis,
        text: () => diagnoseText(diagnosis, { nowMs: Date.now(), width: terminalWidth() }),
      };
    }, this.flags);
  }
}
