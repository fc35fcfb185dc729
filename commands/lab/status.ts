import * as Flags from '@oclif/core/flags';
import { DEFAULT_LAB_NAME } from '../../src/lab/layout.ts';
import { BaseCommand } from '../base.ts';

export default class LabStatus extends BaseCommand<typeof LabStatus> {
  static override summary = "Show a lab's nodes and workloads";
  static override flags = {
    name: Flags.string({ description: "the lab's name", default: DEFAULT_LAB_NAME }),
  };

  async run(): Promise<void> {
    const [{ openLab }, { describeLab, labText }, { defaultLabsDir }] = await Promise.all([
      import('../../src/lab/lab.ts'),
      import('../../src/lab/describe.ts'),
      import('../../src/lab/requirements.ts'),
    ]);
    const description = await describeLab(openLab(this.flags.name, defaultLabsDir()));
    if (description.nodes.some(({ agent }) => agent !== 'Ok')) this.exitWith(1);
    await this.print(description, () => labText(description));
  }
}
