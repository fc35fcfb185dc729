import { mapList } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';

export default class MapList extends BaseCommand<typeof MapList> {
  static override summary = "List the agent's BPF maps and what it keeps of them in user space";

  async run(): Promise<void> {
    const maps = await (await this.source()).maps();
    await this.print(maps, () => mapList(maps.maps ?? [], this.view));
  }
}
