import * as Args from '@oclif/core/args';
import { optionText } from '../../src/view/config.ts';
import { BaseCommand } from '../base.ts';
import { parseKeyValues, switchText } from '../support/key-values.ts';

/** The API takes options of an endpoint as `1` and `0`. */
function bit(value: string): string {
  const text = switchText(value);
  return text === 'Enabled' ? '1' : text === 'Disabled' ? '0' : text;
}

export default class EndpointConfig extends BaseCommand<typeof EndpointConfig> {
  static override summary = 'Show or change the options of an endpoint';
  static override usage = 'endpoint config ID [OPTION=VALUE...]';
  static override examples = ['<%= config.bin %> endpoint config 5023 DropNotification=false'];
  static override strict = false;
  static override args = { id: Args.string({ required: true, description: 'endpoint' }) };

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const changes = parseKeyValues(this.words.slice(1));
    if (Object.keys(changes).length > 0) {
      const before = await agent.endpointConfig(this.args.id);
      const options = { ...before.realized?.options, ...changes };
      const bits = Object.entries(options).map(([key, value]) => [key, bit(String(value))]);
      await agent.patchEndpointConfig(this.args.id, {
        options: Object.fromEntries(bits) as Record<string, string>,
      });
    }
    const config = await agent.endpointConfig(this.args.id);
    await this.print(config, () => optionText(config.realized?.options, this.compat ?? '1.19'));
  }
}
