import * as Args from '@oclif/core/args';
import { closestName } from '../../src/base/did-you-mean.ts';
import { CiliateError, ExitCode } from '../../src/base/errors.ts';
import { mutableOptions } from '../../src/view/config.ts';
import { toJsonLine } from '../../src/view/json.ts';
import { BaseCommand } from '../base.ts';

export default class ConfigGet extends BaseCommand<typeof ConfigGet> {
  static override summary = 'Show one option of the agent';
  static override description = 'Exits 1 when there is no such option.';
  static override args = { name: Args.string({ required: true, description: 'option' }) };

  async run(): Promise<void> {
    const config = await (await this.source()).config();
    const { immutable, daemonConfigurationMap, configurationOrigins } = config.status ?? {};
    const values: Readonly<Record<string, unknown>> = {
      ...daemonConfigurationMap,
      ...immutable,
      ...mutableOptions(config),
    };
    const { name } = this.args;
    if (!Object.hasOwn(values, name)) {
      const close = closestName(name, Object.keys(values));
      throw new CiliateError(`the agent has no option ${JSON.stringify(name)}`, {
        code: 'NO_OPTION',
        exitCode: ExitCode.finding,
        hint: close === undefined ? 'see `ciliate config` for all options' : `did you mean ${close}?`,
      });
    }
    const value = values[name];
    const origin = configurationOrigins?.[name];
    const text = typeof value === 'object' ? toJsonLine(value) : String(value);
    await this.print({ name, value, ...(origin === undefined ? {} : { origin }) }, () => `${text}\n`);
  }
}
