import { nodeList } from '../../src/view/listing.ts';
import { BaseCommand } from '../base.ts';

export default class NodeList extends BaseCommand<typeof NodeList> {
  static override summary = 'List the nodes of the cluster with their addresses and ranges';

  async run(): Promise<void> {
    const nodes = await (await this.source()).nodes();
    await this.print(nodes, () => nodeList(nodes, this.view));
  }
}
