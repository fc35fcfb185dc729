import * as Flags from '@oclif/core/flags';
import { DEFAULT_LAB_NAME } from '../src/lab/layout.ts';
import { BaseCommand } from './base.ts';

export default class Demo extends BaseCommand<typeof Demo> {
  static override summary = 'The main job, end to end: a cluster, a policy that drops, latencies, an archive';
  static override description =
    'Needs root and BPF; without them it runs the part that needs neither, says what was left out, and exits 3.';
  static override examples = ['<%= config.bin %> demo', '<%= config.bin %> demo --keep'];
  static override flags = {
    keep: Flags.boolean({ description: 'leave the lab up and show commands worth trying' }),
    name: Flags.string({ description: "the lab's name", default: DEFAULT_LAB_NAME }),
  };

  async run(): Promise<void> {
    const [{ DemoReport, runDemo }, { defaultLabsDir }, { interruptSignal, STOPPING_OR_UNREAD }] =
      await Promise.all([
        import('../src/lab/demo/index.ts'),
        import('../src/lab/requirements.ts'),
        import('./support/interrupt.ts'),
      ]);
    const code = await runDemo({
      name: this.flags.name,
      keep: this.flags.keep,
      labsDir: defaultLabsDir(),
      report: new DemoReport((text) => process.stdout.write(text)),
      signal: interruptSignal(STOPPING_OR_UNREAD),
    });
    this.exitWith(code);
  }
}
