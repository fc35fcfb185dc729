import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../../src/base/errors.ts';
import { BaseCommand } from '../../base.ts';

export default class FqdnCacheClean extends BaseCommand<typeof FqdnCacheClean> {
  static override summary = 'Forget the addresses of names: of those that a pattern matches, or of all';
  static override description =
    'Connections to these addresses are not allowed by toFQDNs any more until the name is looked up again.';
  static override usage = 'fqdn cache clean -p PATTERN | --all';
  static override flags = {
    matchpattern: Flags.string({
      char: 'p',
      description: 'names that this pattern matches, as matchPattern of a rule',
      helpValue: 'PATTERN',
    }),
    all: Flags.boolean({ char: 'f', description: 'every name', aliases: ['force'] }),
  };

  async run(): Promise<void> {
    const { matchpattern: pattern, all } = this.flags;
    if (Boolean(all) === (pattern !== undefined)) {
      throw new UsageError('give a pattern of the names with -p, or --all', { code: 'FQDN_CHOICE' });
    }
    const { agent } = await this.clients();
    await agent.cleanFqdnCache(pattern);
    await this.print({ cleaned: pattern ?? '*' }, () => `Forgot ${pattern ?? 'every name'}\n`);
  }
}
