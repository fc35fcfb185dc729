import { bpfIpcache } from '../../../src/view/bpf.ts';
import { comparePrefixes } from '../../../src/view/listing.ts';
import { BaseCommand } from '../../base.ts';
import { ipcacheRow } from '../../support/map-rows.ts';
import { withMaps } from '../../support/maps.ts';

export default class BpfIpcacheList extends BaseCommand<typeof BpfIpcacheList> {
  static override summary = 'List which prefix the datapath takes for which identity';

  async run(): Promise<void> {
    const rows = await withMaps(this.paths, (maps) => [...maps.ipcache()].map(ipcacheRow));
    rows.sort((a, b) => comparePrefixes(a.prefix, b.prefix));
    await this.print(rows, () => bpfIpcache(rows, this.view));
  }
}
