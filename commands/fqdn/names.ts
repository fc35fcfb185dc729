import { fqdnNamesTable } from '../../src/view/policy-tables.ts';
import { BaseCommand } from '../base.ts';

export default class FqdnNames extends BaseCommand<typeof FqdnNames> {
  static override summary = 'List the names and patterns of toFQDNs that rules in force ask for';

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const names = await agent.fqdnNames();
    await this.print(names, () => fqdnNamesTable(names, this.view));
  }
}
