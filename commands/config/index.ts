import * as Flags from '@oclif/core/flags';
import { configText } from '../../src/view/config.ts';
import { BaseCommand } from '../base.ts';
import { parseKeyValues, switchText } from '../support/key-values.ts';

export default class ConfigShow extends BaseCommand<typeof ConfigShow> {
  static override summary = 'Show the options of the agent and where each came from, or change some';
  static override usage = 'config [OPTION=VALUE...] [flags]';
  static override examples = [
    '<%= config.bin %> config',
    '<%= config.bin %> config PolicyEnforcement=always Debug=on',
  ];
  static override strict = false;
  static override flags = {
    all: Flags.boolean({ char: 'a', description: 'with --compat 1.19: read-only options too' }),
    'read-only': Flags.boolean({ char: 'r', description: 'only what is fixed while the agent runs' }),
  };

  async run(): Promise<void> {
    const { agent } = await this.clients();
    const { PolicyEnforcement, ...options } = parseKeyValues(this.words);
    if (this.words.length > 0) {
      const { spec, status } = await agent.config();
      const before = status?.realized?.options ?? spec?.options ?? {};
      const changed = Object.entries(options).map(([key, value]) => [key, switchText(value)]);
      await agent.patchConfig({
        options: { ...before, ...(Object.fromEntries(changed) as Record<string, string>) },
        ...(PolicyEnforcement === undefined
          ? {}
          : { 'policy-enforcement': PolicyEnforcement as 'default' | 'always' | 'never' }),
      });
    }
    const config = await agent.config();
    const { all, 'read-only': readOnly } = this.flags;
    await this.print(config, () => configText(config, { ...this.view, all, readOnly }));
  }
}
