import * as Flags from '@oclif/core/flags';
import {
  type LbRows,
  lbBackends,
  lbFrontends,
  lbList,
  lbRevNat,
  lbTexts,
  sortLb,
} from '../../../src/view/bpf-lb.ts';
import { BaseCommand } from '../../base.ts';
import { lbBackendRow, lbServiceRow } from '../../support/map-rows.ts';
import { withMaps } from '../../support/maps.ts';

export default class BpfLbList extends BaseCommand<typeof BpfLbList> {
  static override summary = 'List what the datapath balances: frontends with their slots, and backends';
  static override description = 'Slot 0 is the frontend itself, the others are its active backends.';
  static override flags = {
    frontends: Flags.boolean({ description: 'entries of frontends, with ids of backends' }),
    backends: Flags.boolean({ description: 'backends alone', exclusive: ['frontends'] }),
    revnat: Flags.boolean({
      description: 'which frontend the answers of a service come from',
      exclusive: ['frontends', 'backends'],
    }),
  };

  async run(): Promise<void> {
    const rows = await withMaps(
      this.paths,
      (maps): LbRows => ({
        services: sortLb([...maps.services()].map(lbServiceRow)),
        backends: [...maps.backends()].map(lbBackendRow).sort((a, b) => a.id - b.id),
      }),
    );
    await this.print(this.#value(rows), () => this.#text(rows));
  }

  #value(rows: LbRows): unknown {
    const { frontends, backends, revnat } = this.flags;
    if (backends) return rows.backends;
    if (revnat)
      return rows.services.filter(({ slot }) => slot === 0).map(({ id, frontend }) => ({ id, frontend }));
    if (frontends) return rows.services;
    return this.compat === undefined ? rows : lbTexts(rows);
  }

  #text(rows: LbRows): string {
    const { frontends, backends, revnat } = this.flags;
    const layout = frontends ? lbFrontends : backends ? lbBackends : revnat ? lbRevNat : lbList;
    return layout(rows, this.view);
  }
}
