import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import type { AgentClient } from '../../src/api/client.ts';
import { SourceError } from '../../src/api/source-error.ts';
import { ExitCode, UsageError } from '../../src/base/errors.ts';
import { BaseCommand } from '../base.ts';
import { serviceId } from '../support/service-words.ts';

/** @returns why it stays, where it follows from an object of Kubernetes or is gone already */
async function deleteOne(agent: AgentClient, id: number): Promise<string | undefined> {
  try {
    await agent.deleteService(id);
    return undefined;
  } catch (error) {
    if (error instanceof SourceError && (error.status === 404 || error.status === 409))
      return error.text ?? error.message;
    throw error;
  }
}

export default class ServiceDelete extends BaseCommand<typeof ServiceDelete> {
  static override summary = 'Delete a service, or all of them';
  static override description =
    'Services that follow from objects of Kubernetes go with these (`policy delete svc/NAMESPACE/NAME`): --all leaves them, says so, and exits 5.';
  static override usage = 'service delete ID | --all';
  static override args = { id: Args.string({ description: 'id of the service' }) };
  static override flags = { all: Flags.boolean({ description: 'every service' }) };

  async run(): Promise<void> {
    const { id } = this.args;
    if ((id === undefined) !== Boolean(this.flags.all))
      throw new UsageError('name one service, or --all', { code: 'SERVICE_CHOICE' });
    const { agent } = await this.clients();
    if (id !== undefined) {
      const number = serviceId(id);
      await agent.deleteService(number);
      await this.print({ deleted: [number], left: [] }, () => `Service ${number} deleted\n`);
      return;
    }
    const deleted: number[] = [];
    const left: { readonly id: number; readonly reason: string }[] = [];
    for (const { spec } of await agent.services()) {
      const one = spec?.id ?? 0;
      const reason = await deleteOne(agent, one);
      if (reason === undefined) deleted.push(one);
      else left.push({ id: one, reason });
    }
    if (left.length > 0) this.exitWith(ExitCode.partial);
    const stays = left.map(({ reason }) => `${reason}\n`).join('');
    await this.print({ deleted, left }, () => `${deleted.length} services deleted\n${stays}`);
  }
}
