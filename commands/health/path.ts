import * as Args from '@oclif/core/args';
import { ExitCode } from '../../src/base/errors.ts';
import { allWell, pathText } from '../../src/view/health-path.ts';
import { BaseCommand } from '../base.ts';
import { terminalWidth } from '../support/health-flags.ts';
import { watchFlags } from '../support/watch.ts';

export default class HealthPath extends BaseCommand<typeof HealthPath> {
  static override summary =
    'Show every path from one node to another: where its time goes, and where probes are lost';
  static override description =
    'With one name: from this node to that one. Paths that begin at another node are asked of its health agent; when that does not answer, its last row is shown. Exits 1 unless every path is known to be well.';
  static override usage = 'health path NODE [TO] [flags]';
  static override examples = ['<%= config.bin %> health path n3', '<%= config.bin %> health path n2 n3'];
  static override args = {
    node: Args.string({
      required: true,
      description: 'node that the paths lead to, or begin at when TO is named',
    }),
    to: Args.string({ description: 'node that the paths lead to' }),
  };
  static override flags = watchFlags;

  async run(): Promise<void> {
    const { node, to } = this.args;
    const { health } = await this.clients();
    await this.printOrWatch(async () => {
      const pair = await (to === undefined ? health.pair(node) : health.pair(to, node));
      this.exitWith(allWell(pair) ? ExitCode.ok : ExitCode.finding);
      return { value: pair, text: () => pathText(pair, { nowMs: Date.now(), width: terminalWidth() }) };
    }, this.flags);
  }
}
