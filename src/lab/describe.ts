import { existsSync } from 'node:fs';
import { layoutTabs, trimLines } from '../view/tabwriter.ts';
import { agentClient } from './agent-process.ts';
import type { PodState } from './deathstar.ts';
import type { Lab } from './lab.ts';
import type { NodeLayout } from './layout.ts';
import { podStateOf } from './star-wars.ts';

export interface LabDescription {
  readonly name: string;
  readonly folder: string;
  readonly state: string;
  /** `loopback`: no namespaces and no datapath, so that nothing is enforced. */
  readonly isolation: 'namespaces' | 'loopback';
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
    readonly status: PodState['status'];
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
    isolation: record.options.isolation,
    nodes: layout.nodes.map(({ name, ipv4, ipv6, netns, paths }, i) => ({
      name,
      ipv4,
      ipv6,
      netns,
      agent: states[i] ?? 'unreachable',
      socket: paths.agentSocket,
    })),
    workloads: lab.workloads.map(({ name, node, endpointId, ipv4, ipv6, labels }) => {
      return { name, node, endpoint: endpointId, ipv4, ipv6, ...podStateOf(lab, name), labels };
    }),
  };
}

/** The workloads' half of `labText`: of each what `kubectl get pod` would say, then what an endpoint has. */
export function workloadsText(workloads: LabDescription['workloads']): string {
  const rows = workloads.map(({ name, node, endpoint, ipv4, ipv6, status, restarts, labels }) => {
    const pod = [name, status === 'Running' ? '1/1' : '0/1', status, restarts];
    return [...pod, node, endpoint, ipv4 ?? '-', ipv6 ?? '-', labels.join(',')].join('\t');
  });
  return table(['WORKLOAD\tREADY\tSTATUS\tRESTARTS\tNODE\tENDPOINT\tIPV4\tIPV6\tLABELS', ...rows]);
}

function table(lines: readonly string[]): string {
  return trimLines(layoutTabs(`${lines.join('\n')}\n`, { minWidth: 2 }));
}

export function labText(lab: LabDescription): string {
  const nodes = lab.nodes.map(({ name, ipv4, ipv6, agent, socket }) =>
    [name, ipv4, ipv6 ?? '-', agent, socket].join('\t'),
  );
  const note =
    lab.isolation === 'loopback' ? '\nOn loopback addresses, with no datapath: nothing is enforced.\n' : '';
  return `${table(['NODE\tIPV4\tIPV6\tAGENT\tSOCKET', ...nodes])}\n${workloadsText(lab.workloads)}${note}`;
}
