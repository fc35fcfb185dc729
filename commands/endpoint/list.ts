import * as Flags from '@oclif/core/flags';
import { endpointList } from '../../src/view/endpoint.ts';
import { BaseCommand } from '../base.ts';

export default class EndpointList extends BaseCommand<typeof EndpointList> {
  static override summary =
    'List the endpoints of this node with their policy, identity, labels and addresses';
  static override flags = {
    labels: Flags.string({
      char: 'l',
      description: 'only endpoints that carry these labels',
      multiple: true,
    }),
  };

  async run(): Promise<void> {
    const source = await this.source();
    const endpoints = await source.endpoints(this.flags.labels);
    await this.print(endpoints, () => endpointList(endpoints, this.view));
  }
}
