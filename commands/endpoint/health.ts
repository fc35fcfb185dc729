import * as Args from '@oclif/core/args';
import { ExitCode } from '../../src/base/errors.ts';
import { endpointHealth } from '../../src/view/endpoint.ts';
import { BaseCommand } from '../base.ts';

export default class EndpointHealth extends BaseCommand<typeof EndpointHealth> {
  static override summary = 'Show how an endpoint fares: its program, its policy, its connection';
  static override description = 'Exits 1 unless its overall health is OK.';
  static override args = { id: Args.string({ required: true, description: 'endpoint' }) };

  async run(): Promise<void> {
    const health = await (await this.source()).endpointHealth(this.args.id);
    if (health.overallHealth !== 'OK') this.exitWith(ExitCode.finding);
    await this.print(health, () => endpointHealth(health));
  }
}
