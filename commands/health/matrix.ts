import * as Flags from '@oclif/core/flags';
import { matrixText } from '../../src/view/health-matrix.ts';
import { matrixNodeText } from '../../src/view/health-matrix-node.ts';
import { BaseCommand } from '../base.ts';
import { showsColour, terminalWidth } from '../support/health-flags.ts';
import { watchFlags } from '../support/watch.ts';

export default class HealthMatrix extends BaseCommand<typeof HealthMatrix> {
  static override summary = 'Show what every node measures to every other, the worst nodes first';
  static override description =
    'A grid of as many nodes as the terminal is wide; the others are counted in one line. It works from any node, also while others are down: each keeps the rows of all.';
  static override examples = [
    '<%= config.bin %> health matrix --metric rtt',
    '<%= config.bin %> health matrix --node n3',
    '<%= config.bin %> health matrix --watch',
  ];
  static override flags = {
    metric: Flags.option({
      description: 'what the cells show',
      options: ['state', 'rtt', 'loss'] as const,
      default: 'state',
    })(),
    node: Flags.string({ description: 'one node and its peers, both ways', helpValue: 'NODE' }),
    ...watchFlags,
  };

  async run(): Promise<void> {
    const { health } = await this.clients();
    const { metric, node } = this.flags;
    await this.printOrWatch(async () => {
      const matrix = await health.matrix(node);
      const options = { metric, width: terminalWidth(), colour: showsColour() };
      const text = () =>
        node === undefined
          ? matrixText(matrix, options)
          : matrixNodeText(matrix, node, { ...this.view, width: options.width });
      return { value: matrix, text };
    }, this.flags);
  }
}
