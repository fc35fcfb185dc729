import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../../src/base/errors.ts';
import { BaseCommand } from '../base.ts';
import { readPolicyFiles } from '../support/policy-files.ts';

export default class PolicyValidate extends BaseCommand<typeof PolicyValidate> {
  static override summary =
    'Check policy files without an agent: every error with its line, field and reason';
  static override description = 'Exits 1 when a file is invalid.';
  static override usage = 'policy validate FILE|FOLDER|-... [flags]';
  static override strict = false;
  static override flags = {
    namespace: Flags.string({ description: 'namespace of objects that name none', default: 'default' }),
  };

  async run(): Promise<void> {
    const { formatValidation, validatePolicies } = await import('../../src/policy/index.ts');
    const report = validatePolicies(await readPolicyFiles(this.words), { namespace: this.flags.namespace });
    if (!report.valid) this.exitWith(ExitCode.finding);
    await this.print(report, () => `${formatValidation(report)}\n`);
  }
}
