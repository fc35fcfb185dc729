import * as Args from '@oclif/core/args';
import { mapEntries } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';

export default class MapGet extends BaseCommand<typeof MapGet> {
  static override summary = 'Show what the agent keeps of one BPF map in user space';
  static override args = { name: Args.string({ required: true, description: 'name of the map' }) };

  async run(): Promise<void> {
    const map = await (await this.source()).map(this.args.name);
    await this.print(map, () => mapEntries(map, this.view));
    if (map.cache === undefined && this.format.kind === 'text' && this.compat === undefined) {
      const { name } = this.args;
      process.stderr.write(
        `The agent keeps no copy of ${name}; \`ciliate bpf map dump ${name}\` reads the map itself\n`,
      );
    }
  }
}
