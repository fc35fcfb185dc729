import * as Flags from '@oclif/core/flags';
import { DEFAULT_LAB_NAME } from '../../src/lab/layout.ts';
import { BaseCommand } from '../base.ts';

export default class LabUp extends BaseCommand<typeof LabUp> {
  static override summary =
    'Make a cluster of network namespaces on this machine, with an agent in each node';
  static override examples = [
    '<%= config.bin %> lab up',
    '<%= config.bin %> lab up --name big --nodes 5 --workloads none',
  ];
  static override flags = {
    name: Flags.string({ description: "the lab's name", default: DEFAULT_LAB_NAME }),
    nodes: Flags.integer({ description: 'how many nodes', default: 2, min: 1 }),
    workloads: Flags.option({
      description: 'endpoints to start in it',
      options: ['star-wars', 'none'] as const,
      default: 'star-wars' as const,
    })(),
  };

  async run(): Promise<void> {
    const [
      { createLab, takeDown },
      { startStarWars },
      { defaultLabsDir, missingForNamespaces, notEnforcedText },
      { interruptSignal, STOPPING_OR_UNREAD },
    ] = await Promise.all([
      import('../../src/lab/lab.ts'),
      import('../../src/lab/star-wars.ts'),
      import('../../src/lab/requirements.ts'),
      import('../support/interrupt.ts'),
    ]);
    const { name, nodes, workloads } = this.flags;
    const signal = interruptSignal(STOPPING_OR_UNREAD);
    const missing = missingForNamespaces();
    const isolated = missing.length === 0;
    const say = (text: string): boolean => process.stderr.write(`${text}\n`);
    if (!isolated) say(notEnforcedText(missing));
    // A terminal sends its signal to the programs that we run as well: what they fail with then is not the reason.
    const orInterrupted = (error: unknown): never => {
      throw signal.aborted ? signal.reason : error;
    };
    const lab = await createLab({
      name,
      nodes,
      labsDir: defaultLabsDir(),
      isolation: isolated ? 'namespaces' : 'loopback',
      agent: { datapath: isolated ? 'bpf' : 'none' },
      onProgress: say,
      signal,
    }).catch(orInterrupted);
    try {
      if (workloads === 'star-wars') await startStarWars(lab, say);
      signal.throwIfAborted();
    } catch (error) {
      await takeDown(lab.layout);
      orInterrupted(error);
    }
    lab.finish();
    say(`lab ${name} is up; \`ciliate lab status --name ${name}\` shows it`);
  }
}
