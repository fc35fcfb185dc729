import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { EMPTY_INVENTORY, mergeInventory } from '../../src/model/policy-inventory.ts';
import { BaseCommand } from '../base.ts';
import { readPolicyFiles } from '../support/policy-files.ts';

export default class PolicyImport extends BaseCommand<typeof PolicyImport> {
  static override summary = 'Add the rules of policy files; rules with the same labels are replaced';
  static override description =
    'Files hold CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy and CiliumCIDRGroup objects, services that rules name, or bare rules, as YAML or JSON. They are checked first: with any error in any file nothing is changed.';
  static override usage = 'policy import FILE|FOLDER|-... [flags]';
  static override examples = [
    '<%= config.bin %> policy import rule1.yaml',
    'cat rules.json | <%= config.bin %> policy import -',
  ];
  static override strict = false;
  static override flags = {
    namespace: Flags.string({ description: 'namespace of objects that name none', default: 'default' }),
    print: Flags.boolean({ description: 'print the policy after the import' }),
  };

  async run(): Promise<void> {
    const [{ parsePolicy, formatProblems, latestObjects, policyText: importText }, texts] = await Promise.all(
      [import('../../src/policy/index.ts'), readPolicyFiles(this.words)],
    );
    const parsed = texts.map(({ file, text }) => ({
      file,
      ...parsePolicy(text, { file, namespace: this.flags.namespace }),
    }));
    const latest = latestObjects(
      parsed.flatMap(({ file, rules }) => rules.map((rule) => ({ ...rule, file }))),
    );
    const errors = parsed.flatMap((file) => file.errors);
    const warnings = [...parsed.flatMap((file) => file.warnings), ...latest.warnings];
    if (warnings.length > 0) process.stderr.write(`${formatProblems(warnings)}\n`);
    if (errors.length > 0) {
      throw new UsageError(`the policy is invalid:\n${formatProblems(errors)}`, {
        code: 'POLICY_INVALID',
        hint: 'nothing was changed',
      });
    }
    const { agent } = await this.clients();
    const rules = latest.rules.map(({ rule }) => rule);
    const inventory = parsed.map((file) => file.inventory).reduce(mergeInventory, EMPTY_INVENTORY);
    const answer = await agent.putPolicy(importText(rules, inventory));
    const policy = this.flags.print ? await agent.policy() : answer;
    const { policyText } = await import('../../src/view/listing.ts');
    await this.print(policy, () =>
      this.flags.print ? policyText(policy) : `Revision: ${answer.revision ?? 0}\n`,
    );
  }
}
