import { rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { AgentClient } from '../api/client.ts';
import { HealthClient } from '../api/health-client.ts';
import { packageRoot } from '../base/assets.ts';
import { SystemError } from '../base/errors.ts';
import { makeFolder } from '../base/make-folder.ts';
import type { LabLayout, NodeLayout } from './layout.ts';
import { isAlive, type ProcessRef, startDetached, tailOf, waitFor } from './processes.ts';

/** Ports of both /metrics on a node's address. */
export const AGENT_METRICS_PORT = 9962;
export const HEALTH_METRICS_PORT = 9963;
const AGENT_START_MS = 30_000;
const POLL_MS = 100;

export interface AgentOptions {
  readonly datapath: 'bpf' | 'none';
  /** More words for `ciliate agent`. */
  readonly extra?: readonly string[] | undefined;
  /** More labels of each node, `KEY=VALUE`. */
  readonly labels?: readonly string[] | undefined;
}

/** `argv` that runs one of our own commands. */
export function ciliate(...words: readonly string[]): readonly string[] {
  return [join(packageRoot(), 'bin', 'ciliate'), ...words];
}

/** The words of `ciliate agent` for a node. */
export function agentWords(layout: LabLayout, node: NodeLayout, options: AgentOptions): readonly string[] {
  const isolated = node.netns !== undefined;
  const words: Record<string, string | undefined> = {
    'node-name': node.name,
    'state-dir': node.paths.stateDir,
    'bpf-dir': node.paths.bpfDir,
    store: `local:${layout.storeFile}`,
    datapath: options.datapath,
    'ipv4-node': node.ipv4,
    'ipv6-node': node.ipv6,
    'ipv4-range': node.ipv4AllocRange,
    'ipv6-range': node.ipv6AllocRange,
    'cluster-cidrs': layout.clusterRanges.join(','),
    'node-own-labels': [`kubernetes.io/hostname=${node.name}`, ...(options.labels ?? [])].join(','),
    devices: isolated ? 'eth0' : undefined,
    'metrics-address': `${node.ipv4}:${AGENT_METRICS_PORT}`,
    'liveness-address': `${node.ipv4}:9879`,
    // Begins like the lab's other namespaces, so that taking the lab down finds it.
    'health-netns': node.netns === undefined ? undefined : `${node.netns}-health`,
    'health-metrics-address': `${node.ipv4}:${HEALTH_METRICS_PORT}`,
  };
  const flags = Object.entries(words).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}=${value}`],
  );
  return ['agent', ...flags, ...(options.extra ?? [])];
}

/** Points commands at a node's agent, as the flags -H, --health-host, --state-dir and --bpf-dir would. */
export function nodeEnvironment(node: NodeLayout): Readonly<Record<string, string>> {
  return {
    CILIATE_SOCK: `unix://${node.paths.agentSocket}`,
    CILIATE_HEALTH_SOCK: `unix://${node.paths.healthSocket}`,
    CILIATE_STATE_DIR: node.paths.stateDir,
    CILIATE_BPF_DIR: node.paths.bpfDir,
    PATH: pathWithCiliate(),
  };
}

/** A PATH on which `ciliate` is found. */
export function pathWithCiliate(): string {
  return [dirname(ciliate()[0] ?? ''), process.env.PATH ?? ''].join(delimiter);
}

export function agentClient(node: NodeLayout): AgentClient {
  return new AgentClient({ address: { kind: 'unix', path: node.paths.agentSocket } });
}

export function healthClient(node: NodeLayout): HealthClient {
  return new HealthClient({ address: { kind: 'unix', path: node.paths.healthSocket } });
}

/** Starts a node's agent and returns at once; see `agentReady`. */
export async function startAgent(
  layout: LabLayout,
  node: NodeLayout,
  options: AgentOptions,
): Promise<ProcessRef> {
  makeFolder(node.paths.stateDir);
  // A socket of an agent that was killed would be taken for the new one's.
  rmSync(node.paths.agentSocket, { force: true });
  return startDetached({
    argv: ciliate(...agentWords(layout, node, options)),
    netns: node.netns,
    outputFile: node.outputFile,
  });
}

/**
 * Waits until a node's agent answers that it is well.
 * @throws SystemError code AGENT_FAILED with the end of its output when it ends before that or says otherwise
 */
export async function agentReady(node: NodeLayout, ref: ProcessRef, signal?: AbortSignal): Promise<void> {
  const client = agentClient(node);
  let last = 'no answer';
  const failed = (why: string): SystemError =>
    new SystemError(`the agent of ${node.name} ${why}\n${tailOf(node.outputFile).trimEnd()}`, {
      code: 'AGENT_FAILED',
    });
  try {
    await waitFor({ what: 'ready', timeoutMs: AGENT_START_MS, everyMs: POLL_MS, signal }, async () => {
      if (!isAlive(ref)) throw failed('ended before it was ready');
      const status = await client.healthz({ timeoutMs: 5000 }).catch(() => undefined);
      last = `${status?.cilium?.state ?? 'no answer'} ${status?.cilium?.msg ?? ''}`.trim();
      return status?.cilium?.state === 'Ok' ? true : undefined;
    });
  } catch (error) {
    if (error instanceof SystemError && error.code === 'WAIT_TIMEOUT') {
      throw failed(`is not ready after ${AGENT_START_MS / 1000} s: ${last}`);
    }
    throw error;
  }
}
