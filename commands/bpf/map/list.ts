import { BaseCommand } from '../../base.ts';

export default class BpfMapList extends BaseCommand<typeof BpfMapList> {
  static override summary = 'List the names of the pinned maps';

  async run(): Promise<void> {
    const names = await (await this.source()).bpfMaps();
    await this.print(names, () => names.map((name) => `${name}\n`).join(''));
  }
}
