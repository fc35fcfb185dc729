import { type Cidr, cidrContains, parseCidr } from '../base/ip.ts';
import type { ClusterNode } from '../model/node.ts';
import type { AgentOptions } from './options.ts';

/** The ranges in which an address without an identity of its own is nobody's: those configured and those of known nodes. */
export function podRanges(
  options: Pick<AgentOptions, 'cluster-cidrs'>,
  nodes: readonly ClusterNode[],
): readonly Cidr[] {
  const announced = nodes.flatMap(({ ipv4AllocRange, ipv6AllocRange }) => [ipv4AllocRange, ipv6AllocRange]);
  return [...options['cluster-cidrs'], ...announced.filter((range) => range !== undefined).map(parseCidr)];
}

/** Whether a prefix lies in one of the ranges as a whole. */
export function isInRanges(prefix: Cidr, ranges: readonly Cidr[]): boolean {
  return ranges.some(
    (range) =>
      range.family === prefix.family && range.length <= prefix.length && cidrContains(range, prefix.bytes),
  );
}
