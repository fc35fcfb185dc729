import { isIP } from 'node:net';
import type { NodeAddressing, NodeElement } from '../api/schema.ts';
import { formatIp, type IpFamily, parseIp } from '../base/ip.ts';

/** What answers at an address: the node itself, or its health endpoint. */
export type PathKind = 'node' | 'endpoint';

/** One address that is probed. */
export interface PathTarget {
  readonly node: string;
  readonly kind: PathKind;
  /** The first address of a node or health endpoint is its primary one. */
  readonly primary: boolean;
  /** In text form. */
  readonly address: string;
  readonly family: IpFamily;
}

export interface HealthNode {
  readonly name: string;
  /** Where it stands, if the list tells. */
  readonly zone?: string | undefined;
  readonly targets: readonly PathTarget[];
}

/** The addresses of the node itself, not those of its health endpoint. */
export function hostTargets({ targets }: Pick<HealthNode, 'targets'>): PathTarget[] {
  return targets.filter(({ kind }) => kind === 'node');
}

/** Names a path: a node's address as what it is. */
export function pathKey({ node, kind, address }: Pick<PathTarget, 'node' | 'kind' | 'address'>): string {
  return `${node} ${kind} ${address}`;
}

/** What is no address cannot be probed; a node that has no other stays listed, without paths: unknown. */
function isProbeable(address: string): boolean {
  return isIP(address) !== 0 && !address.includes('%');
}

/** As the kernel writes it: whoever comes from there is known by the same text. */
function canonical(address: string): string {
  return formatIp(parseIp(address));
}

function enabledIps(addressing: NodeAddressing | undefined): string[] {
  return [addressing?.ipv4, addressing?.ipv6]
    .filter((element) => element?.enabled === true)
    .map((element) => element?.ip ?? '')
    .filter(isProbeable)
    .map(canonical);
}

function targetsOf(node: string, kind: PathKind, addresses: readonly string[]): PathTarget[] {
  return [...new Set(addresses)].map((address, i) => {
    return { node, kind, address, primary: i === 0, family: isIP(address) === 4 ? 4 : 6 };
  });
}

/** The addresses of a node of the agent's list. Only those marked `enabled` are there to be probed. */
export function healthNode(element: NodeElement): HealthNode {
  const name = element.name ?? '';
  const secondary = (element['secondary-addresses'] ?? [])
    .filter(({ enabled }) => enabled === true)
    .map(({ ip }) => ip ?? '')
    .filter(isProbeable)
    .map(canonical);
  const host = [...enabledIps(element['primary-address']), ...secondary];
  const endpoint = enabledIps(element['health-endpoint-address']);
  const targets = [...targetsOf(name, 'node', host), ...targetsOf(name, 'endpoint', endpoint)];
  const { zone } = element;
  return typeof zone === 'string' && zone !== '' ? { name, zone, targets } : { name, targets };
}
