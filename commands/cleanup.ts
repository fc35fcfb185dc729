import { hostname } from 'node:os';
import * as Flags from '@oclif/core/flags';
import { ExitCode, UsageError } from '../src/base/errors.ts';
import { BaseCommand } from './base.ts';

export default class Cleanup extends BaseCommand<typeof Cleanup> {
  static override summary = 'Remove everything that an agent made on this node';
  static override description =
    'Ends the health process and removes the health endpoint, routes, pinned programs and maps, the node in the store and the state files; logs stay. The agent must not run. Nothing is enforced here afterwards.';
  static override flags = {
    force: Flags.boolean({ description: 'really do it' }),
    'node-name': Flags.string({ description: 'name of the node', helpValue: 'NAME' }),
    store: Flags.string({
      description: 'store that other nodes share: this node leaves it',
      helpValue: 'KIND:PLACE',
    }),
    'health-netns': Flags.string({
      description: 'network namespace of the health endpoint',
      helpValue: 'NAME',
    }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    if (!flags.force) {
      throw new UsageError(
        `this ends enforcement on the node of ${this.paths.stateDir} and removes its state`,
        {
          code: 'CONFIRMATION_MISSING',
          hint: 'add --force to do it',
        },
      );
    }
    const { cleanUp } = await import('../src/wiring/agent.ts');
    const steps = await cleanUp({
      nodeName: flags['node-name'] ?? hostname().toLowerCase(),
      stateDir: this.paths.stateDir,
      bpfDir: this.paths.bpfDir,
      healthNetns: flags['health-netns'],
      storeSpec: flags.store,
    });
    for (const { what, failure } of steps) {
      process.stdout.write(`${what}: ${failure === undefined ? 'removed' : `not removed: ${failure}`}\n`);
    }
    if (steps.some(({ failure }) => failure !== undefined)) process.exitCode = ExitCode.partial;
  }
}
