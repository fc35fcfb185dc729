import { existsSync } from 'node:fs';
import { layoutTabs, trimLines } from '../view/tabwriter.ts';
import { agentClient } from './agent-process.ts';
import type { Lab } from './lab.ts';
import type { NodeLayout } from './layout.ts';
import { restartsOf } from './star-wars.ts';

export interface LabDescription {
  readonly name: string;
  readonly folder: string;
  readonly state: string;
  readonly nodes: readonly {
    readonly name: string;
    readonly ipv4: string;
    readonly ipv6: string | undefined;
    readonly netns: string | undefined;
    /** State of the agent as it says it itself, or `unreachable`. */
    readonly agent: string;
    readonly socket: string;
  }[];
  readonly workloads: readonly {
    readonly name: string;
    readonly node: string;
    readonly endpoint: number;
    readonly ipv4: string | undefined;
    readonly ipv6: string | undefined;
    readonly restarts: number;
    readonly labels: readonly string[];
  }[];
}

async function agentState(node: NodeLayout): Promise<string> {
  if (!existsSync(node.paths.agentSocket)) return 'unreachable';
  const status = await agentClient(node)
    .healthz({ brief: true, timeoutMs: 5000 })
    .catch(() => undefined);
  return status?.cilium?.state ?? 'unreachable';
}

/** What a lab consists of now, asking each agent. */
export async function describeLab(lab: Lab): Promise<LabDescription> {
  const { layout, record } = lab;
  const states = await Promise.all(layout.nodes.map(agentState));
  return {
    name: layout.name,
    folder: layout.dir,
    state: record.state,
    nodes: layout.nodes.map(({ name, ipv4, ipv6, netns, paths }, i) => ({
      name,
      ipv4,
      ipv6,
      netns,
      agent: states[i] ?? 'unreachable',
      socket: paths.agentSocket,
    })),
    workloads: lab.workloads.map(({ name, node, endpointId, ipv4, ipv6, labels }) => {
      return { name, node, endpoint: endpointId, ipv4, ipv6, restarts: restartsOf(lab, name), labels };
    }),
  };
}

export function labText(lab: LabDescription): string {
  const nodes = lab.nodes.map(({ name, ipv4, ipv6, agent, socket }) =>
    [name, ipv4, ipv6 ?? '-', agent, socket].join('\t'),
  );
  const workloads = lab.workloads.map(({ name, node, endpoint, ipv4, ipv6, restarts, labels }) =>
    [name, node, endpoint, ipv4 ?? '-', ipv6 ?? '-', restarts, labels.join(',')].join('\t'),
  );
  const table = (lines: readonly string[]): string =>
    trimLines(layoutTabs(`${lines.join('\n')}\n`, { minWidth: 2 }));
  return `${table(['NODE\tIPV4\tIPV6\tAGENT\tSOCKET', ...nodes])}\n${table([
    'WORKLOAD\tNODE\tENDPOINT\tIPV4\tIPV6\tRESTARTS\tLABELS',
    ...workloads,
  ])}`;
}
