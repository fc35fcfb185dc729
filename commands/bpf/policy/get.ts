import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../../src/base/errors.ts';
import { bpfPolicy, bpfPolicyList, type PolicyRow, sortPolicy } from '../../../src/view/bpf.ts';
import { BaseCommand } from '../../base.ts';
import { ruleNames } from '../../support/event-names.ts';
import { identityLabels } from '../../support/identity-labels.ts';
import { policyRow } from '../../support/map-rows.ts';
import { withMaps } from '../../support/maps.ts';

export default class BpfPolicyGet extends BaseCommand<typeof BpfPolicyGet> {
  static override summary = "Show an endpoint's policy map as the kernel holds it, with counters";
  static override description =
    'Reads the pinned map; the agent is asked only for the labels of identities and the names of rules, and numbers are shown if it is away.';
  static override usage = 'bpf policy get ENDPOINT | --all [-n]';
  static override args = { id: Args.string({ description: 'id of the endpoint' }) };
  static override flags = {
    all: Flags.boolean({ description: 'every endpoint' }),
    numeric: Flags.boolean({ char: 'n', description: 'show the numbers of identities and rules' }),
  };

  async run(): Promise<void> {
    const { id } = this.args;
    const all = this.flags.all || id === undefined;
    if (id !== undefined && (this.flags.all || !/^\d{1,5}$/.test(id))) {
      throw new UsageError(`${JSON.stringify(id)} is not the id of an endpoint`, { code: 'ENDPOINT_ID' });
    }
    const found = await withMaps(this.paths, (maps) => {
      const ids = all ? [...maps.endpoints()].map(({ endpoint }) => endpoint.id) : [Number(id)];
      return ids.map((endpoint) => ({
        endpoint,
        rows: sortPolicy([...maps.policy(endpoint)].map(policyRow)),
      }));
    });
    const options = {
      ...this.view,
      numeric: this.flags.numeric,
      labelsOf: await this.#labels(found),
      ...(await this.#rules(found)),
    };
    const only = found[0]?.rows ?? [];
    const path = `${this.paths.bpfDir}/maps`;
    await this.print(all ? found : only, () =>
      all
        ? bpfPolicyList(
            found.map((one) => ({ ...one, path })),
            options,
          )
        : bpfPolicy(only, options),
    );
  }

  async #labels(found: readonly { readonly rows: readonly PolicyRow[] }[]) {
    if (this.flags.numeric || this.format.kind !== 'text') return undefined;
    const wanted = found.flatMap(({ rows }) => rows.map(({ identity }) => identity));
    const known = await identityLabels(await this.source(), wanted);
    return (identity: number): readonly string[] | undefined => (identity === 0 ? ['ANY'] : known(identity));
  }

  async #rules(found: readonly { readonly rows: readonly PolicyRow[] }[]) {
    if (this.flags.numeric || this.format.kind !== 'text' || this.compat !== undefined) return {};
    const names = ruleNames((await this.clients()).agent);
    await names.know(found.flatMap(({ rows }) => rows.map(({ ruleId }) => ruleId)));
    return { ruleName: names.of };
  }
}
