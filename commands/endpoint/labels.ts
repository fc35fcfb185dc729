import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { endpointLabels } from '../../src/view/endpoint.ts';
import { BaseCommand } from '../base.ts';

export default class EndpointLabels extends BaseCommand<typeof EndpointLabels> {
  static override summary = 'Show or change the labels of an endpoint';
  static override examples = ['<%= config.bin %> endpoint labels 5023 -a env=test -d k8s:org=empire'];
  static override args = { id: Args.string({ required: true, description: 'endpoint' }) };
  static override flags = {
    add: Flags.string({ char: 'a', description: 'add this label', multiple: true, multipleNonGreedy: true }),
    delete: Flags.string({
      char: 'd',
      description: 'take this label away',
      multiple: true,
      multipleNonGreedy: true,
    }),
  };

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const { add = [], delete: gone = [] } = this.flags;
    if (add.length + gone.length > 0) {
      const before = await agent.endpointLabels(this.args.id);
      const user = new Set(before.status?.realized?.user ?? before.spec?.user ?? []);
      for (const label of gone) user.delete(label);
      for (const label of add) user.add(label);
      await agent.patchEndpointLabels(this.args.id, { user: [...user] });
    }
    const labels = await agent.endpointLabels(this.args.id);
    await this.print(labels, () => endpointLabels(labels, this.view));
  }
}
