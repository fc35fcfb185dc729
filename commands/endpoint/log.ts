import * as Args from '@oclif/core/args';
import { endpointLog } from '../../src/view/endpoint.ts';
import { BaseCommand } from '../base.ts';

export default class EndpointLog extends BaseCommand<typeof EndpointLog> {
  static override summary = "Show the history of an endpoint's states";
  static override args = { id: Args.string({ required: true, description: 'endpoint' }) };

  async run(): Promise<void> {
    const log = await (await this.source()).endpointLog(this.args.id);
    await this.print(log, () => endpointLog(log, this.view));
  }
}
