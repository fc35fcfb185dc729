import { type Label, LabelKey, makeLabel } from '../model/labels.ts';
import type { ClusterNode } from '../model/node.ts';
import type { PolicyNode } from '../policy/index.ts';
import type { AgentOptions } from './options.ts';

type Options = Pick<
  AgentOptions,
  'node-name' | 'cluster-name' | 'enable-node-selector-labels' | 'node-labels'
>;

function labelsOf({ labels = {} }: ClusterNode, options: Options): readonly Label[] {
  if (!options['enable-node-selector-labels']) return [];
  const own = Object.entries(labels).map(([key, value]) => makeLabel('node', key, value));
  return [
    ...own.filter((label) => options['node-labels'].counts(label)),
    makeLabel('k8s', LabelKey.cluster, options['cluster-name']),
  ];
}

/** The nodes of the cluster as rules see them. */
export function policyNodes(nodes: readonly ClusterNode[], options: Options): readonly PolicyNode[] {
  return nodes.map((node) => ({
    isOwn: node.name === options['node-name'],
    addresses: [node.ipv4, node.ipv6].filter((ip) => ip !== undefined),
    labels: labelsOf(node, options),
  }));
}
