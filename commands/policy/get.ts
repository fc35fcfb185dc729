import { policyText } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';

export default class PolicyGet extends BaseCommand<typeof PolicyGet> {
  static override summary = 'Show the rules and their revision, or the rules that carry the given labels';
  static override usage = 'policy get [LABEL...]';
  static override strict = false;

  async run(): Promise<void> {
    const policy = await (await this.source()).policy(this.words);
    await this.print(policy, () => policyText(policy));
  }
}
