import type * as Api from '../../api/schema.ts';
import { AGENT_METRICS_PORT, agentClient, ciliate, healthClient } from '../agent-process.ts';
import { execIn } from '../host.ts';
import type { Lab } from '../lab.ts';
import type { NodeLayout } from '../layout.ts';
import { waitFor } from '../processes.ts';

const METRICS_LIMIT_MS = 30_000;
const HEALTH_LIMIT_MS = 60_000;
const REALIZED_LIMIT_MS = 20_000;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})? ([^ ]+)/;

/** Sum of the samples of a family whose labels contain all of `labels` (`reason="Policy denied"`). */
export function sumSamples(text: string, family: string, labels: readonly string[] = []): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    const [, name, labelText = '', value = ''] = SAMPLE.exec(line) ?? [];
    if (name === family && labels.every((label) => labelText.includes(label))) sum += Number(value);
  }
  return sum;
}

/** A node's /metrics as a scraper gets them, over its address. */
export async function scrape(node: NodeLayout, port = AGENT_METRICS_PORT): Promise<string> {
  const words = ciliate('lab', 'send', 'GET', `http://${node.ipv4}:${port}/metrics`);
  return (await execIn(node.netns, words, METRICS_LIMIT_MS)).stdout;
}

/** Packets that policy dropped, all nodes. */
export async function policyDrops(lab: Lab): Promise<number> {
  const texts = await Promise.all(lab.layout.nodes.map((node) => scrape(node)));
  const reasons = ['reason="Policy denied"'];
  return texts.reduce((sum, text) => sum + sumSamples(text, 'cilium_drop_count_total', reasons), 0);
}

/** The endpoint of a workload as its agent shows it. */
export function endpointOf(lab: Lab, workload: string): Promise<Api.Endpoint> {
  const { node, endpointId } = lab.workload(workload);
  return agentClient(lab.node(node)).endpoint(String(endpointId));
}

export async function identityOf(lab: Lab, workload: string): Promise<number> {
  return (await endpointOf(lab, workload)).status?.identity?.id ?? 0;
}

/** Waits until every endpoint of a node has the policy of `revision` in its map. */
export async function policyRealized(
  node: NodeLayout,
  revision: number,
  signal?: AbortSignal,
): Promise<void> {
  const client = agentClient(node);
  const options = {
    what: `policy revision ${revision} on ${node.name}`,
    timeoutMs: REALIZED_LIMIT_MS,
    signal,
  };
  await waitFor(options, async () => {
    const endpoints = await client.endpoints();
    const behind = endpoints.filter(
      (endpoint) => (endpoint.status?.policy?.realized?.['policy-revision'] ?? 0) < revision,
    );
    return behind.length === 0 ? true : undefined;
  });
}

function isFine(probe: Api.ConnectivityStatus | undefined): boolean {
  return probe !== undefined && (probe.status ?? '') === '' && (probe.latency ?? 0) > 0;
}

function pathsOf(node: Api.NodeStatus): readonly Api.PathStatus[] {
  const parts = [node.host, node['health-endpoint']];
  return parts
    .flatMap((part) => [part?.['primary-address'], ...(part?.['secondary-addresses'] ?? [])])
    .filter((path) => path !== undefined);
}

/** Whether every path to every node was probed by HTTP, and by ICMP if `icmp`, and answered. */
export function allReachable(status: Api.HealthStatusResponse, nodes: number, icmp: boolean): boolean {
  const paths = (status.nodes ?? []).map(pathsOf);
  if (paths.length < nodes || paths.some((list) => list.length === 0)) return false;
  return paths.flat().every((path) => isFine(path.http) && (!icmp || isFine(path.icmp)));
}

/** Waits until a node's health agent has reached every node, with its last answer if it has not. */
export async function healthSettled(lab: Lab, node: NodeLayout, icmp: boolean): Promise<boolean> {
  const client = healthClient(node);
  const options = { what: `health of ${node.name}`, timeoutMs: HEALTH_LIMIT_MS, everyMs: 250 };
  return waitFor(options, async () => {
    const status = await client.status().catch(() => undefined);
    return status !== undefined && allReachable(status, lab.layout.nodes.length, icmp) ? true : undefined;
  }).catch(() => false);
}
