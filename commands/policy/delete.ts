import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { BaseCommand } from '../base.ts';
import { policyChoice } from '../support/policy-choice.ts';

export default class PolicyDelete extends BaseCommand<typeof PolicyDelete> {
  static override summary =
    'Delete the rules that carry all the given labels, or objects: those of rules, groups and services';
  static override description =
    'An object is KIND/NAMESPACE/NAME, or KIND/NAME (of the namespace default, where the kind has namespaces): CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy, CiliumCIDRGroup, Service, Endpoints, EndpointSlice, or cnp, ccnp, netpol, ccg, svc, ep.';
  static override usage = 'policy delete LABEL... | KIND/NAME... | --all';
  static override examples = [
    '<%= config.bin %> policy delete k8s:io.cilium.k8s.policy.name=rule1',
    '<%= config.bin %> policy delete cnp/default/rule1 ccg/outside svc/default/web',
  ];
  static override strict = false;
  static override flags = {
    all: Flags.boolean({ description: 'delete every rule; groups and services stay' }),
  };

  async run(): Promise<void> {
    if (Boolean(this.flags.all) === this.words.length > 0) {
      throw new UsageError('give labels of the rules to delete, objects, or --all', {
        code: 'POLICY_CHOICE',
      });
    }
    const choice = policyChoice(this.words);
    const { agent } = await this.clients();
    const policy =
      choice.kind === 'objects'
        ? await agent.deletePolicyObjects(choice.words)
        : await agent.deletePolicy(choice.words);
    await this.print(policy, () => `Revision: ${policy.revision ?? 0}\n`);
  }
}
