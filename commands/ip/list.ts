import * as Flags from '@oclif/core/flags';
import { ipList } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';
import { identityLabels } from '../support/identity-labels.ts';

export default class IpList extends BaseCommand<typeof IpList> {
  static override summary = 'List which address has which identity';
  static override flags = {
    numeric: Flags.boolean({ char: 'n', description: "show identities' numbers" }),
    verbose: Flags.boolean({ char: 'v', description: 'show nodes and keys too' }),
  };

  async run(): Promise<void> {
    const source = await this.source();
    const entries = await source.ips();
    await this.print(entries, async () => {
      const { numeric, verbose } = this.flags;
      if (numeric) return ipList(entries, { ...this.view, verbose });
      const labelsOf = await identityLabels(
        source,
        entries.map(({ identity }) => identity ?? 0),
      );
      return ipList(entries, { ...this.view, verbose, labelsOf });
    });
  }
}
