import * as Flags from '@oclif/core/flags';
import { SourceError } from '../../src/api/source-error.ts';
import { ExitCode } from '../../src/base/errors.ts';
import type { Label } from '../../src/model/labels.ts';
import { BaseCommand } from '../base.ts';
import { readPolicyFiles } from '../support/policy-files.ts';

export default class PolicyValidate extends BaseCommand<typeof PolicyValidate> {
  static override summary =
    'Check policy files: every error with its line, field and reason, and rules without effect';
  static override description =
    'Warns of rules that another one covers or denies, and, where an agent is there to ask, of rules that select nothing now. Exits 1 when a file is invalid.';
  static override usage = 'policy validate FILE|FOLDER|-... [flags]';
  static override strict = false;
  static override flags = {
    namespace: Flags.string({ description: 'namespace of objects that name none', default: 'default' }),
    offline: Flags.boolean({ description: 'ask no agent what rules select' }),
  };

  async run(): Promise<void> {
    const texts = await readPolicyFiles(this.words);
    const { formatValidation, validatePolicies } = await import('../../src/policy/index.ts');
    const endpoints = this.flags.offline ? undefined : await this.#endpoints();
    const report = validatePolicies(texts, { namespace: this.flags.namespace, endpoints });
    if (!report.valid) this.exitWith(ExitCode.finding);
    await this.print(report, () => `${formatValidation(report)}\n`);
  }

  /** Labels of all that rules can select, of the whole cluster; undefined when no agent is there to tell. */
  async #endpoints(): Promise<readonly (readonly Label[])[] | undefined> {
    const { agent } = await this.clients();
    const { parseLabels } = await import('../../src/model/labels.ts');
    try {
      return (await agent.identities()).map(({ labels }) => parseLabels(labels ?? []));
    } catch (error) {
      if (error instanceof SourceError) return undefined;
      throw error;
    }
  }
}
