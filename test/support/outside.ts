import { addNetns, ip, ipBatch } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { netnsPrefix } from '../../src/lab/layout.ts';

/** A machine outside the cluster, on the wire of the nodes. */
export const OUTSIDE = { 4: '172.30.0.200', 6: 'fd30::200' } as const;

/**
 * Makes the machine, with more addresses of 192.0.2.0/24, 198.51.100.0/24 and 2001:db8::/32, and routes both ways.
 * It goes with the lab. @returns its namespace
 */
export async function makeOutside(lab: Lab, addresses: readonly string[]): Promise<string> {
  const { fabricNetns, name, nodes } = lab.layout;
  const netns = `${netnsPrefix(name)}outside`;
  await addNetns(netns);
  const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', netns];
  await ip('-n', fabricNetns, 'link', 'add', 'outside', ...peer);
  await ipBatch(['link set outside master br0', 'link set outside up'], fabricNetns);
  await ipBatch(
    [
      'link set lo up',
      `address add ${OUTSIDE[4]}/24 dev eth0`,
      `address add ${OUTSIDE[6]}/64 dev eth0 nodad`,
      'link set eth0 up',
      ...addresses.map((address) => `address add ${address}/${address.includes(':') ? 128 : 32} dev lo`),
      ...nodes.flatMap((node) => [
        `route add ${node.ipv4AllocRange} via ${node.ipv4}`,
        `route add ${node.ipv6AllocRange} via ${node.ipv6}`,
      ]),
    ],
    netns,
  );
  const routes = [
    `route add 192.0.2.0/24 via ${OUTSIDE[4]}`,
    `route add 198.51.100.0/24 via ${OUTSIDE[4]}`,
    `route add 2001:db8::/32 via ${OUTSIDE[6]}`,
  ];
  for (const { netns: node } of nodes) await ipBatch(routes, node);
  return netns;
}
