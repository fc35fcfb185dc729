import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../../src/base/errors.ts';
import { flowLine } from '../../../src/view/bpf.ts';
import { toJsonLine } from '../../../src/view/json.ts';
import { BaseCommand } from '../../base.ts';
import { LineWriter } from '../../support/line-writer.ts';
import { flowRow } from '../../support/map-rows.ts';
import { withMaps } from '../../support/maps.ts';

export default class BpfCtList extends BaseCommand<typeof BpfCtList> {
  static override summary = 'List the flows that the datapath tracks';
  static override description =
    'IPv4 flows, then IPv6 flows, each sorted. With --unsorted, or -o json (one object a line), rows are written as they are read: memory stays small however many there are.';
  static override flags = {
    unsorted: Flags.boolean({ description: "the map's own order" }),
  };

  async run(): Promise<void> {
    const json = this.format.kind === 'json';
    if (!json && this.format.kind !== 'text')
      throw new UsageError(`bpf ct list has no -o ${this.format.kind}`, {
        code: 'OUTPUT_FORMAT',
        hint: 'a list this long comes as text or, with -o json, as one object a line',
      });
    const sorted = !json && !this.flags.unsorted;
    await withMaps(this.paths, async (maps) => {
      const writer = new LineWriter();
      for (const family of [4, 6] as const) {
        const lines: string[] = [];
        for (const flow of maps.conntrack(family)) {
          const line = json ? `${toJsonLine(flowRow(flow))}\n` : flowLine(flowRow(flow));
          if (sorted) lines.push(line);
          else {
            const full = writer.add(line);
            if (full !== undefined) await full;
          }
        }
        for (const line of lines.sort()) {
          const full = writer.add(line);
          if (full !== undefined) await full;
        }
      }
      await writer.flush();
    });
  }
}
