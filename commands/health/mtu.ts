import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../../src/base/errors.ts';
import { mtuText } from '../../src/view/health-lists.ts';
import { BaseCommand } from '../base.ts';
import { terminalWidth } from '../support/health-flags.ts';

export default class HealthMtu extends BaseCommand<typeof HealthMtu> {
  static override summary = 'Show the largest packet that each path carries, and black holes';
  static override description =
    'A black hole takes small packets and loses large ones without a word. Exits 1 when there is one.';
  static override flags = {
    node: Flags.string({ description: 'only paths to this node', helpValue: 'NODE' }),
  };

  async run(): Promise<void> {
    const { health } = await this.clients();
    const mtu = await health.mtu(this.flags.node);
    if ((mtu.paths ?? []).some((path) => path['black-hole'])) this.exitWith(ExitCode.finding);
    await this.print(mtu, () => mtuText(mtu, { ...this.view, width: terminalWidth() }));
  }
}
