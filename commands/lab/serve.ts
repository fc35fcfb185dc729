import * as Flags from '@oclif/core/flags';
import { BaseCommand } from '../base.ts';

export default class LabServe extends BaseCommand<typeof LabServe> {
  static override summary = 'Be a deathstar: the HTTP server of the Star Wars workloads';
  static override hidden = true;
  static override flags = {
    port: Flags.integer({ description: 'port on every address', default: 80, min: 1, max: 65535 }),
    state: Flags.string({ description: 'restart after each explosion, and keep count in this file' }),
  };

  async run(): Promise<void> {
    const [{ serveDeathstar, superviseRestarts }, { writePodState }, { interruptSignal }, { ciliate }] =
      await Promise.all([
        import('../../src/lab/deathstar.ts'),
        import('../../src/lab/star-wars.ts'),
        import('../support/interrupt.ts'),
        import('../../src/lab/agent-process.ts'),
      ]);
    const { port, state: file } = this.flags;
    const signal = interruptSignal();
    if (file === undefined) process.exitCode = await serveDeathstar(port, signal);
    else {
      const argv = ciliate('lab', 'serve', `--port=${port}`);
      await superviseRestarts(argv, (state) => writePodState(file, state), signal);
    }
  }
}
