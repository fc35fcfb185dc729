import { bpfEndpoints } from '../../../src/view/bpf.ts';
import { comparePrefixes } from '../../../src/view/listing.ts';
import { BaseCommand } from '../../base.ts';
import { endpointRows } from '../../support/map-rows.ts';
import { withMaps } from '../../support/maps.ts';

export default class BpfEndpointList extends BaseCommand<typeof BpfEndpointList> {
  static override summary = 'List the endpoints that the datapath delivers to';

  async run(): Promise<void> {
    const rows = await withMaps(this.paths, (maps) => [...maps.endpoints()].flatMap(endpointRows));
    rows.sort((a, b) => comparePrefixes(a.ip, b.ip));
    await this.print(rows, () => bpfEndpoints(rows, this.view));
  }
}
