import * as Flags from '@oclif/core/flags';
import { selectorTable } from '../../src/view/policy-tables.ts';
import { BaseCommand } from '../base.ts';

export default class PolicySubjectSelectors extends BaseCommand<typeof PolicySubjectSelectors> {
  static override summary =
    'List the selectors of whom the rules are for, with the local identities that each picks';
  static override flags = {
    verbose: Flags.boolean({ char: 'v', description: 'all labels of the rules, not only their objects' }),
  };

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const entries = await agent.policySubjectSelectors();
    await this.print(entries, () => selectorTable(entries, { ...this.view, verbose: this.flags.verbose }));
  }
}
