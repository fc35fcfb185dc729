import * as Flags from '@oclif/core/flags';
import { ExitCode, UsageError } from '../../src/base/errors.ts';
import { EMPTY_INVENTORY } from '../../src/model/policy-inventory.ts';
import { impactText } from '../../src/view/impact.ts';
import { BaseCommand } from '../base.ts';
import { policyChoice } from '../support/policy-choice.ts';
import { readPolicyFiles } from '../support/policy-files.ts';

export default class PolicyImpact extends BaseCommand<typeof PolicyImpact> {
  static override summary =
    'Say what would change if policy files were imported, or rules deleted: endpoints of this node, and flows and requests it saw';
  static override description =
    'Nothing is changed. --delete takes what `policy delete` takes. Flows and requests are those that the agent saw of late (up to 4,096 kinds of flows with peers in the cluster, as many with addresses outside, and 2,048 of requests), so one that did not happen is not told. Exits 1 when something that passes now would be cut off, else 0.';
  static override usage = 'policy impact FILE|FOLDER|-... [--delete LABEL|KIND/NAME...] [flags]';
  static override examples = [
    '<%= config.bin %> policy impact rule1.yaml',
    '<%= config.bin %> policy impact --delete cnp/default/rule1',
  ];
  static override strict = false;
  static override flags = {
    delete: Flags.string({
      description: 'as if the rules with all of these labels, or these objects, were deleted first',
      helpValue: 'LABEL|KIND/NAME',
      multiple: true,
      multipleNonGreedy: true,
    }),
    namespace: Flags.string({ description: 'namespace of objects that name none', default: 'default' }),
  };

  async run(): Promise<void> {
    const { delete: words, namespace } = this.flags;
    if (this.words.length === 0 && words === undefined) {
      throw new UsageError('name policy files, or rules by labels or object with --delete', {
        code: 'POLICY_CHOICE',
      });
    }
    const deleted = words === undefined ? undefined : policyChoice(words);
    const texts = this.words.length === 0 ? [] : await readPolicyFiles(this.words);
    const [{ l4Text, policyImpact }, { rulesOfTexts }, { impactInput }, { agent }] = await Promise.all([
      import('../../src/policy/index.ts'),
      import('../support/trace-rules.ts'),
      import('../support/impact-input.ts'),
      this.clients(),
    ]);
    const added =
      texts.length === 0 ? { rules: [], inventory: EMPTY_INVENTORY } : rulesOfTexts(texts, namespace);
    const impact = policyImpact(await impactInput(agent, { added, deleted }));
    const view = { ...impact, flows: impact.flows.map((flow) => ({ ...flow, traffic: l4Text(flow.l4) })) };
    if (impact.cutsOff) this.exitWith(ExitCode.finding);
    await this.print(view, () => impactText(view));
  }
}
