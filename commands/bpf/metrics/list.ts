import { bpfMetrics } from '../../../src/view/bpf.ts';
import { BaseCommand } from '../../base.ts';
import { metricRow } from '../../support/map-rows.ts';
import { withMaps } from '../../support/maps.ts';

export default class BpfMetricsList extends BaseCommand<typeof BpfMetricsList> {
  static override summary =
    'List how many packets the datapath forwarded and dropped, by reason and direction';

  async run(): Promise<void> {
    const rows = await withMaps(this.paths, (maps) => maps.counters().map(metricRow));
    const known = rows.filter(({ packets }) => packets > 0n);
    await this.print(known, () => bpfMetrics(known, this.view));
  }
}
