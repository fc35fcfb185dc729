import { once } from 'node:events';
import * as Args from '@oclif/core/args';
import { toJsonLine } from '../../../src/view/json.ts';
import { BaseCommand } from '../../base.ts';

export default class BpfMapDump extends BaseCommand<typeof BpfMapDump> {
  static override summary = 'Print every entry of a pinned map as one line of JSON, decoded by its BTF';
  static override args = {
    name: Args.string({ required: true, description: 'name of the map, see bpf map list' }),
  };

  async run(): Promise<void> {
    const source = await this.source();
    for await (const entry of source.bpfEntries(this.args.name)) {
      if (!process.stdout.write(`${toJsonLine(entry)}\n`)) await once(process.stdout, 'drain');
    }
  }
}
