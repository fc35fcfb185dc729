import * as Flags from '@oclif/core/flags';
import { DEFAULT_LAB_NAME } from '../../src/lab/layout.ts';
import { BaseCommand } from '../base.ts';

export default class LabDown extends BaseCommand<typeof LabDown> {
  static override summary = 'Take a lab down: processes, namespaces, links, pins and folders';
  static override description = 'Works on half-made labs too, and does nothing when there is none.';
  static override examples = ['<%= config.bin %> lab down', '<%= config.bin %> lab down --all'];
  static override flags = {
    name: Flags.string({ description: "the lab's name", default: DEFAULT_LAB_NAME, exclusive: ['all'] }),
    all: Flags.boolean({ description: 'every lab of this user' }),
  };

  async run(): Promise<void> {
    const [{ takeDown }, { labLayout }, { listLabs }, { defaultLabsDir }] = await Promise.all([
      import('../../src/lab/lab.ts'),
      import('../../src/lab/layout.ts'),
      import('../../src/lab/record.ts'),
      import('../../src/lab/requirements.ts'),
    ]);
    const labsDir = defaultLabsDir();
    const names = this.flags.all ? listLabs(labsDir) : [this.flags.name];
    for (const name of names) {
      const found = await takeDown(labLayout({ name, nodes: 1, labsDir, isolation: 'namespaces' }));
      process.stderr.write(found ? `lab ${name} is down\n` : `there is no lab ${name}\n`);
    }
  }
}
