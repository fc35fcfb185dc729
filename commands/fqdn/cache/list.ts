import * as Flags from '@oclif/core/flags';
import { fqdnCacheTable } from '../../../src/view/policy-tables.ts';
import { BaseCommand } from '../../base.ts';

export default class FqdnCacheList extends BaseCommand<typeof FqdnCacheList> {
  static override summary = 'List the addresses of names that endpoints were told, and until when they count';
  static override examples = ["<%= config.bin %> fqdn cache list -e 5023 -p '*.example.com'"];
  static override flags = {
    endpoint: Flags.string({
      char: 'e',
      description: 'only what this endpoint asked',
      helpValue: 'ENDPOINT',
    }),
    matchpattern: Flags.string({
      char: 'p',
      description: 'only names that this pattern matches, as matchPattern of a rule',
      helpValue: 'PATTERN',
    }),
    source: Flags.string({
      char: 's',
      description: 'only addresses of answers, or only those that live connections keep',
      options: ['lookup', 'connection'],
    }),
    cidr: Flags.string({ description: 'only addresses in this prefix', helpValue: 'PREFIX' }),
  };

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const { endpoint, matchpattern: pattern, source, cidr } = this.flags;
    const lookups = await agent.fqdnCache({ endpoint, pattern, source, cidr });
    await this.print(lookups, () => fqdnCacheTable(lookups, this.view));
  }
}
