import * as Flags from '@oclif/core/flags';
import { serviceList } from '../../src/view/service.ts';
import { BaseCommand } from '../base.ts';
import { durationFlag } from '../support/duration-flag.ts';
import { affinitySeconds, serviceId, socketWord, stateWords, wordsOf } from '../support/service-words.ts';

const TYPES = ['ClusterIP', 'NodePort', 'ExternalIPs', 'LoadBalancer', 'HostPort'] as const;

export default class ServiceUpdate extends BaseCommand<typeof ServiceUpdate> {
  static override summary = 'Create a service, or change the one with that frontend';
  static override description =
    'Addresses are 10.0.0.1:80, 10.0.0.1:53/udp, [fd00::1]:80. The frontend keeps its id; a new one gets that of --id, or a free one. What is not given of a service that there is becomes the default.';
  static override examples = [
    '<%= config.bin %> service update --frontend 10.96.0.10:80 --backends 10.0.0.1:8080,10.0.0.2:8080',
    '<%= config.bin %> service update --frontend 0.0.0.0:30080 --type NodePort --backends 10.0.0.1:8080',
  ];
  static override flags = {
    frontend: Flags.string({ description: 'address that clients know, IP:PORT[/PROTOCOL]', required: true }),
    backends: Flags.string({
      description: 'addresses behind it, with commas or each with a flag of its own',
      multiple: true,
    }),
    states: Flags.string({
      description:
        'states of the backends in their order: active (default), terminating, quarantined, maintenance',
      multiple: true,
    }),
    id: Flags.string({ description: 'id of the service, 1 to 65535' }),
    type: Flags.option({ description: 'kind of the frontend (default ClusterIP)', options: TYPES })(),
    name: Flags.string({ description: 'name of the service, [NAMESPACE/]NAME' }),
    affinity: durationFlag({
      description: 'how long a client keeps its backend, in whole seconds (default: it does not)',
    }),
  };

  async run(): Promise<void> {
    const { frontend, backends, states, id, type, name, affinity } = this.flags;
    const wanted = id === undefined ? 0 : serviceId(id);
    const addresses = wordsOf(backends).map(socketWord);
    const named = stateWords(wordsOf(states), addresses.length);
    const [namespace = '', ...rest] = (name ?? '').split('/');
    const spec = {
      ...(wanted !== 0 && { id: wanted }),
      'frontend-address': { protocol: 'TCP', ...socketWord(frontend) },
      'backend-addresses': addresses.map((one, i) => ({
        ...one,
        ...(named[i] !== undefined && { state: named[i] }),
      })),
      flags: {
        ...(type !== undefined && { type }),
        ...(name !== undefined && (rest.length === 0 ? { name } : { namespace, name: rest.join('/') })),
        ...(affinity !== undefined && { affinityTimeout: affinitySeconds(affinity) }),
      },
    };
    const { agent } = await this.clients();
    const made = (await agent.putService(wanted, spec)) ?? { spec };
    await this.print(made, () => serviceList([made], this.view));
  }
}
