import { serviceList } from '../../src/view/service.ts';
import { BaseCommand } from '../base.ts';

export default class ServiceList extends BaseCommand<typeof ServiceList> {
  static override summary = 'List the services of this node with the backends that the datapath has';

  async run(): Promise<void> {
    const source = await this.source();
    const services = await source.services();
    await this.print(services, () => serviceList(services, this.view));
  }
}
