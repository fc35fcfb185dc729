import { setTimeout as sleep } from 'node:timers/promises';
import * as Args from '@oclif/core/args';
import { CiliateError, ExitCode, UsageError } from '../../src/base/errors.ts';
import type { EndpointView } from '../../src/view/types.ts';
import { BaseCommand } from '../base.ts';
import { durationFlag } from '../support/duration-flag.ts';

const POLL_MS = 200;
const DEFAULT_TIMEOUT_MS = 6 * 60_000;

/** Endpoints that do not enforce the revision yet, by id. */
function behind(endpoints: readonly EndpointView[], revision: number): number[] {
  const late = endpoints.filter(
    ({ status }) =>
      (status?.policy?.realized?.['policy-revision'] ?? 0) < revision || status?.state !== 'ready',
  );
  return late.map(({ id }) => id ?? 0).sort((a, b) => a - b);
}

export default class PolicyWait extends BaseCommand<typeof PolicyWait> {
  static override summary = 'Wait until every endpoint enforces a revision of the policy';
  static override description = 'Exits 1 when the time is over first.';
  static override args = { revision: Args.string({ required: true, description: 'revision' }) };
  static override flags = {
    timeout: durationFlag({ description: 'how long to wait (default: 6m)', aliases: ['max-wait-time'] }),
  };

  async run(): Promise<void> {
    if (!/^\d{1,15}$/.test(this.args.revision)) {
      throw new UsageError(`${JSON.stringify(this.args.revision)} is not a revision`, { code: 'REVISION' });
    }
    const revision = Number(this.args.revision);
    const source = await this.source();
    const endMs = performance.now() + (this.flags.timeout ?? DEFAULT_TIMEOUT_MS);
    for (;;) {
      const late = behind(await source.endpoints(), revision);
      if (late.length === 0) break;
      if (performance.now() >= endMs) {
        throw new CiliateError(`endpoints ${late.join(', ')} do not enforce revision ${revision} yet`, {
          code: 'POLICY_WAIT',
          exitCode: ExitCode.finding,
          hint: 'see `ciliate endpoint log ID`',
        });
      }
      await sleep(POLL_MS);
    }
    await this.print({ revision }, () => `Revision ${revision} is enforced by every endpoint\n`);
  }
}
