import { setTimeout as sleep } from 'node:timers/promises';
import * as Args from '@oclif/core/args';
import { CiliateError, ExitCode, UsageError } from '../../src/base/errors.ts';
import type { EndpointView } from '../../src/view/types.ts';
import { BaseCommand } from '../base.ts';
import { durationFlag } from '../support/duration-flag.ts';

const POLL_MS = 200;
const DEFAULT_TIMEOUT_MS = 6 * 60_000;

/** Endpoints that do not enforce the revision yet, by id. */
function behind(endpoints: readonly EndpointView[], revision: number): EndpointView[] {
  const late = endpoints.filter(
    ({ status }) =>
      (status?.policy?.realized?.['policy-revision'] ?? 0) < revision || status?.state !== 'ready',
  );
  return late.sort((a, b) => (a.id ?? 0) - (b.id ?? 0));
}

/** Reasons shown; what keeps many endpoints is seldom of more kinds. */
const MOST_REASONS = 3;

/** Who they are, and what their logs say last. */
function lateText(late: readonly EndpointView[], revision: number): string {
  const ids = late.map(({ id }) => id ?? 0).join(', ');
  const reasons = late.slice(0, MOST_REASONS).flatMap(({ id, status }) => {
    const message = Array.isArray(status?.log) ? status.log[0]?.message : undefined;
    return typeof message === 'string' ? [`\n${id ?? 0}: ${message}`] : [];
  });
  return `endpoints ${ids} do not enforce revision ${revision} yet${reasons.join('')}`;
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
        throw new CiliateError(lateText(late, revision), {
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
