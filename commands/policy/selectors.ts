import * as Flags from '@oclif/core/flags';
import { selectorTable } from '../../src/view/policy-tables.ts';
import { BaseCommand } from '../base.ts';

export default class PolicySelectors extends BaseCommand<typeof PolicySelectors> {
  static override summary = 'List the selectors of peers in the rules, with the identities that each picks';
  static override flags = {
    verbose: Flags.boolean({ char: 'v', description: 'all labels of the rules, not only their objects' }),
  };

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const entries = await agent.policySelectors();
    await this.print(entries, () => selectorTable(entries, { ...this.view, verbose: this.flags.verbose }));
  }
}
