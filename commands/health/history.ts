import * as Flags from '@oclif/core/flags';
import { historyText } from '../../src/view/health-lists.ts';
import { BaseCommand } from '../base.ts';
import { checked } from '../support/checked.ts';
import { parseSinceFlag, terminalWidth } from '../support/health-flags.ts';

const sinceFlag = Flags.custom<string>({
  helpValue: 'TIME',
  parse: checked((text) => parseSinceFlag(text, Date.now())),
});

export default class HealthHistory extends BaseCommand<typeof HealthHistory> {
  static override summary = "Show how the states of this node's paths changed";
  static override description =
    'What is kept: the last 10,000 changes since the health agent started, the oldest first.';
  static override examples = [
    '<%= config.bin %> health history --since 10m',
    '<%= config.bin %> health history --since 2026-01-31T12:00:00Z --node n3',
  ];
  static override flags = {
    since: sinceFlag({ description: 'only changes after it: how long ago (10m), or RFC 3339' }),
    node: Flags.string({ description: 'only paths to this node', helpValue: 'NODE' }),
  };

  async run(): Promise<void> {
    const { health } = await this.clients();
    const { since, node } = this.flags;
    const history = await health.history(since, node);
    await this.print(history, () => historyText(history, { ...this.view, width: terminalWidth() }));
  }
}
