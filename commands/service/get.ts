import * as Args from '@oclif/core/args';
import { toJson } from '../../src/view/json.ts';
import { BaseCommand } from '../base.ts';
import { serviceId } from '../support/service-words.ts';

export default class ServiceGet extends BaseCommand<typeof ServiceGet> {
  static override summary = 'Show all that the agent knows of one service';
  static override description =
    'spec is what is wanted, status.realized what the datapath has. Exits 1 when there is none.';
  static override args = { id: Args.string({ description: 'id of the service', required: true }) };

  async run(): Promise<void> {
    const source = await this.source();
    const service = await source.service(serviceId(this.args.id));
    await this.print(service, () => toJson(service));
  }
}
