import { addNetns, ip, ipBatch, setSysctls } from './host.ts';
import type { LabLayout, NodeLayout } from './layout.ts';

/** Device of a node to the other nodes, and of a workload to its node. */
export const NODE_DEVICE = 'eth0';
const UNDERLAY_LENGTH = { v4: 24, v6: 64 } as const;

/** A router: forwards both families, takes asymmetric paths, and judges no duplicate addresses (there are none). */
const NODE_SYSCTLS = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
  'net/ipv6/conf/all/accept_dad': '0',
  'net/ipv6/conf/default/accept_dad': '0',
  'net/ipv6/conf/default/accept_ra': '0',
  'net/ipv4/ping_group_range': '0 2147483647',
} as const;

const WORKLOAD_SYSCTLS = {
  'net/ipv6/conf/all/accept_dad': '0',
  'net/ipv6/conf/default/accept_dad': '0',
  'net/ipv6/conf/default/accept_ra': '0',
  'net/ipv4/ping_group_range': '0 2147483647',
  'net/ipv4/ip_unprivileged_port_start': '0',
} as const;

/** Makes the namespace that holds the bridge between the nodes. */
export async function createFabric(layout: LabLayout): Promise<void> {
  await addNetns(layout.fabricNetns);
  await setSysctls(layout.fabricNetns, { 'net/ipv6/conf/default/disable_ipv6': '1' });
  await ipBatch(
    ['link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0', 'link set br0 up'],
    layout.fabricNetns,
  );
}

/** Makes a node's namespace and its link to the fabric, with an address of each family. */
export async function createNodeNetwork(
  layout: LabLayout,
  node: NodeLayout & { netns: string },
): Promise<void> {
  await addNetns(node.netns);
  await setSysctls(node.netns, NODE_SYSCTLS);
  await ip(
    ...['-n', layout.fabricNetns, 'link', 'add', node.name, 'type', 'veth'],
    ...['peer', 'name', NODE_DEVICE, 'netns', node.netns],
  );
  await ipBatch([`link set ${node.name} master br0`, `link set ${node.name} up`], layout.fabricNetns);
  await ipBatch(
    [
      `address add ${node.ipv4}/${UNDERLAY_LENGTH.v4} dev ${NODE_DEVICE}`,
      ...(node.ipv6 === undefined
        ? []
        : [`address add ${node.ipv6}/${UNDERLAY_LENGTH.v6} dev ${NODE_DEVICE} nodad`]),
      `link set ${NODE_DEVICE} up`,
    ],
    node.netns,
  );
}

export interface WorkloadLink {
  /** Host side, in the node's namespace. */
  readonly ifname: string;
  readonly ifindex: number;
  /** `aa:bb:cc:dd:ee:ff` of the container side. */
  readonly mac: string;
  readonly hostMac: string;
}

interface LinkJson {
  readonly ifindex: number;
  readonly address: string;
}

async function readLink(netns: string, ifname: string): Promise<LinkJson> {
  const [link] = JSON.parse(await ip('-n', netns, '-j', 'link', 'show', ifname)) as LinkJson[];
  if (link === undefined) throw new Error(`ip shows no ${ifname} in ${netns}`);
  return link;
}

/** Makes a workload's namespace and the veth pair to its node, host side up, container side down and without address. */
export async function createWorkloadLink(
  nodeNetns: string,
  workloadNetns: string,
  ifname: string,
): Promise<WorkloadLink> {
  await addNetns(workloadNetns);
  await setSysctls(workloadNetns, WORKLOAD_SYSCTLS);
  await ip(
    ...['-n', nodeNetns, 'link', 'add', ifname, 'type', 'veth'],
    ...['peer', 'name', NODE_DEVICE, 'netns', workloadNetns],
  );
  await setSysctls(nodeNetns, { [`net/ipv6/conf/${ifname}/disable_ipv6`]: '1' });
  await ip('-n', nodeNetns, 'link', 'set', ifname, 'up');
  const host = await readLink(nodeNetns, ifname);
  const container = await readLink(workloadNetns, NODE_DEVICE);
  return { ifname, ifindex: host.ifindex, mac: container.address, hostMac: host.address };
}

export interface WorkloadAddressing {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  /** The node's address in the endpoints' range, which endpoints use as gateway. */
  readonly gatewayIpv4: string | undefined;
  readonly gatewayIpv6: string | undefined;
}

/** Gives the container side its addresses and default routes, and sets it up: the last step, once policy is in place. */
export async function configureWorkload(netns: string, addressing: WorkloadAddressing): Promise<void> {
  const { ipv4, ipv6, gatewayIpv4, gatewayIpv6 } = addressing;
  const dev = `dev ${NODE_DEVICE}`;
  const lines = [
    ...(ipv4 === undefined ? [] : [`address add ${ipv4}/32 ${dev}`]),
    ...(ipv6 === undefined ? [] : [`address add ${ipv6}/128 ${dev} nodad`]),
    `link set ${NODE_DEVICE} up`,
    ...(ipv4 === undefined || gatewayIpv4 === undefined
      ? []
      : [`route add ${gatewayIpv4}/32 ${dev} scope link`, `route add default via ${gatewayIpv4} ${dev}`]),
    ...(ipv6 === undefined || gatewayIpv6 === undefined
      ? []
      : [`route add ${gatewayIpv6}/128 ${dev}`, `route add default via ${gatewayIpv6} ${dev}`]),
  ];
  await ipBatch(lines, netns);
}
