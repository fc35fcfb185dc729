/**
 * An agent's datapath that never rests, to be killed at any instant: it takes over what is pinned, then rewrites the
 * policy of one endpoint, attaches another anew and changes the ipcache, again and again.
 * argv: bpfs folder, path of the namespace, JSON of ChurnOrders.
 */
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { createBpfDatapath } from '../../src/datapath/index.ts';
import type { DatapathEndpoint, DatapathNode } from '../../src/datapath/types.ts';
import { allow, deny, stateOf } from '../support/datapath-lab.ts';

/** Endpoints with their bytes as arrays. */
export interface ChurnOrders {
  readonly node: { readonly addresses: readonly string[]; readonly podCidrs: readonly string[] };
  readonly server: number;
  readonly serverPort: number;
  readonly client: number;
  /** Whether policies come by that hold the endpoint while they are written. */
  readonly denies: boolean;
  /** Is attached anew in every round; may never send or get anything. */
  readonly outcast: DatapathEndpoint;
}

const BOTH = { ingress: true, egress: true };
const NOTHING = new Map();

function bytes<T extends object>(endpoint: T): T {
  const entries = Object.entries(endpoint).map(([name, value]) => [
    name,
    Array.isArray(value) ? Uint8Array.from(value as number[]) : (value as unknown),
  ]);
  return Object.fromEntries(entries) as T;
}

const [bpfDir = '', netns = '', text = ''] = process.argv.slice(2);
const orders = JSON.parse(text) as ChurnOrders;
const outcast = bytes(orders.outcast);
const datapath = createBpfDatapath({ bpfDir, netns });
const node: DatapathNode = {
  addresses: orders.node.addresses.map(parseIp),
  podCidrs: orders.node.podCidrs.map(parseCidr),
  devices: ['wire'],
  routerIpv4: undefined,
  routerIpv6: undefined,
};
const { endpoints } = await datapath.start(node);
process.stdout.write(`started with ${endpoints.length}\n`);
const always = allow('ingress', orders.client, 17, orders.serverPort);
const policies = [
  stateOf([always, ...Array.from({ length: 40 }, (_, i) => allow('ingress', 7000 + i))]),
  stateOf([always, allow('ingress', 0, 6, 80)]),
  // An agent that dies while it changes denying entries leaves the endpoint held: flows that no longer have a verdict
  // wait for the next agent. Only some orders ask for it.
  ...(orders.denies
    ? [
        stateOf([
          always,
          ...Array.from({ length: 40 }, (_, i) => deny('ingress', orders.client, 17, 6000 + i)),
        ]),
      ]
    : []),
];
for (let round = 0; ; round++) {
  const wanted = policies[round % policies.length] ?? NOTHING;
  await datapath.applyPolicy(orders.server, wanted, {
    ingress: true,
    egress: round % 2 === 0,
  });
  await datapath.attachEndpoint(outcast);
  // Now and then it shares the map of the other one, and changes with it.
  await datapath.applyPolicy(outcast.id, round % 4 < 2 ? wanted : NOTHING, BOTH);
  if (round % 3 === 0) await datapath.detachEndpoint(outcast.id);
  const prefix = parseCidr(`198.51.100.${round % 200}/32`);
  await datapath.upsertIpcache([{ prefix, identity: 9000 + round, tunnelEndpoint: undefined }]);
  await datapath.deleteIpcache([prefix]);
}
