import { ruleTable } from '../../src/view/policy-tables.ts';
import { BaseCommand } from '../base.ts';

export default class PolicyRules extends BaseCommand<typeof PolicyRules> {
  static override summary = 'List the rules with whom they select here and what they decided';
  static override description =
    'Counts new connections that a rule allowed, denied or sent to the proxy, and requests that the proxy judged, since the rule was added; requests since the agent started. Connections are counted in the kernel, so none is missing: of rules for which it has no room they are shown together, as (not counted); one that is denied counts with every attempt. A connection is counted for the rule that stands in the policy map: of several that say the same, the oldest.';

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const rules = await agent.policyRules();
    await this.print(rules, () => ruleTable(rules, this.view));
  }
}
