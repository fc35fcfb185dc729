import { identityList } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';

export default class IdentityList extends BaseCommand<typeof IdentityList> {
  static override summary = 'List security identities, or those that carry the given labels';
  static override usage = 'identity list [LABEL...]';
  static override strict = false;

  async run(): Promise<void> {
    const identities = await (await this.source()).identities(this.words);
    await this.print(identities, () => identityList(identities, this.view));
  }
}
