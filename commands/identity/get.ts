import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { ExitCode, UsageError } from '../../src/base/errors.ts';
import { identityList } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';

export default class IdentityGet extends BaseCommand<typeof IdentityGet> {
  static override summary = 'Show one identity by its number, or those that carry labels';
  static override description = 'Exits 1 when there is none.';
  static override args = { id: Args.string({ description: 'number of the identity' }) };
  static override flags = {
    label: Flags.string({ description: 'a label that it carries', multiple: true }),
  };

  async run(): Promise<void> {
    const { id } = this.args;
    const labels = this.flags.label ?? [];
    if ((id === undefined) === (labels.length === 0)) {
      throw new UsageError('name one identity by number, or labels with --label', {
        code: 'IDENTITY_CHOICE',
      });
    }
    if (id !== undefined && !/^\d{1,10}$/.test(id)) {
      throw new UsageError(`${JSON.stringify(id)} is not the number of an identity`, {
        code: 'IDENTITY_NUMBER',
      });
    }
    const source = await this.source();
    const found = id === undefined ? await source.identities(labels) : [await source.identity(id)];
    if (found.length === 0) this.exitWith(ExitCode.finding);
    await this.print(found, () => identityList(found, this.view));
  }
}
