import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../../src/base/errors.ts';
import type { ShipMethod, ShipOutcome } from '../../src/lab/ship.ts';
import { BaseCommand } from '../base.ts';

const METHODS = ['GET', 'POST', 'PUT'] as const satisfies readonly ShipMethod[];

const methodArg = Args.custom<ShipMethod>({
  options: [...METHODS],
  parse: (text) => Promise.resolve(METHODS.find((method) => method === text) ?? 'GET'),
});

function outcomeText(outcome: ShipOutcome): string {
  // Line ends of HTTP, which would be shown as an escape.
  if (outcome.kind === 'answer') return outcome.body.replaceAll('\r\n', '\n');
  if (outcome.kind === 'timeout') return `no answer within ${outcome.timeoutMs / 1000} s\n`;
  return `refused: ${outcome.code}\n`;
}

export default class LabSend extends BaseCommand<typeof LabSend> {
  static override summary = 'Send one HTTP request; exit 1 when no answer comes';
  static override description =
    'A small client for workloads, whose namespaces have no other: `lab exec xwing -- ciliate lab send POST URL`.';
  static override args = {
    method: methodArg({ required: true }),
    url: Args.url({ required: true }),
  };
  static override flags = {
    'timeout-ms': Flags.integer({
      description: 'for connection and answer, in milliseconds',
      default: 3000,
      min: 1,
    }),
  };

  async run(): Promise<void> {
    const { sendShip } = await import('../../src/lab/ship.ts');
    const outcome = await sendShip(this.args.method, this.args.url.href, this.flags['timeout-ms']);
    if (outcome.kind !== 'answer') this.exitWith(ExitCode.finding);
    await this.print(outcome, () => outcomeText(outcome));
  }
}
