import * as Args from '@oclif/core/args';
import { ExitCode } from '../../src/base/errors.ts';
import { readyText } from '../../src/view/health-lists.ts';
import { BaseCommand } from '../base.ts';
import { terminalWidth } from '../support/health-flags.ts';

export default class HealthReady extends BaseCommand<typeof HealthReady> {
  static override summary = 'Say whether a node may take load: a gate for rollouts';
  static override description =
    'Ready is a node whose health agent is heard, that has measured its peers, that reaches them and is reached, and that no verdict is about. Faults of other nodes do not count. Exits 0 when it is ready, 1 when it is not or when that is not known.';
  static override args = { node: Args.string({ description: 'node (default: this one)' }) };

  async run(): Promise<void> {
    const { health } = await this.clients();
    const answer = await health.ready(this.args.node);
    if (!answer.ready) this.exitWith(ExitCode.finding);
    await this.print(answer, () => readyText(answer, { width: terminalWidth() }));
  }
}
