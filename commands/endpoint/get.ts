import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { toJson } from '../../src/view/json.ts';
import { BaseCommand } from '../base.ts';

export default class EndpointGet extends BaseCommand<typeof EndpointGet> {
  static override summary = 'Show all that the agent knows of one endpoint, or of those with given labels';
  static override description =
    'The id is a number, or a prefixed name such as ipv4:10.0.1.5, ipv6:fd00::5, container-id:..., cep-name:ns/name.';
  static override examples = [
    '<%= config.bin %> endpoint get 5023',
    '<%= config.bin %> endpoint get -l k8s:org=empire',
  ];
  static override args = { id: Args.string({ description: 'endpoint' }) };
  static override flags = {
    labels: Flags.string({ char: 'l', description: 'endpoints that carry these labels', multiple: true }),
  };

  async run(): Promise<void> {
    const { id } = this.args;
    const labels = this.flags.labels ?? [];
    if ((id === undefined) === (labels.length === 0)) {
      throw new UsageError('name one endpoint, or labels with -l', { code: 'ENDPOINT_CHOICE' });
    }
    const source = await this.source();
    const found = id === undefined ? await source.endpoints(labels) : [await source.endpoint(id)];
    await this.print(found, () => toJson(found));
  }
}
