import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { BaseCommand } from '../base.ts';

export default class PolicyDelete extends BaseCommand<typeof PolicyDelete> {
  static override summary = 'Delete the rules that carry all the given labels';
  static override usage = 'policy delete LABEL... | --all';
  static override strict = false;
  static override flags = { all: Flags.boolean({ description: 'delete every rule' }) };

  async run(): Promise<void> {
    if (Boolean(this.flags.all) === this.words.length > 0) {
      throw new UsageError('give labels of the rules to delete, or --all', { code: 'POLICY_CHOICE' });
    }
    const { agent } = await this.clients();
    const policy = await agent.deletePolicy(this.words);
    await this.print(policy, () => `Revision: ${policy.revision ?? 0}\n`);
  }
}
