import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { UsageError } from '../base/errors.ts';
import { type NodePaths, nodePaths } from '../base/paths.ts';

/** Where labs keep their records unless told otherwise. */
export const DEFAULT_LABS_DIR = '/run/ciliate-lab';
export const DEFAULT_LAB_NAME = 'demo';
export const MAX_LAB_NODES = 100;
const LAB_NAME = /^[a-z][a-z0-9]{0,9}$/;
const WORKLOAD_NAME = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;

/** Names, folders and addresses of one node of a lab. Everything follows from the lab's name and the node's number. */
export interface NodeLayout {
  /** `node1`. */
  readonly name: string;
  /** Counted from 1. */
  readonly index: number;
  /** Network namespace as `ip netns` names it; undefined in a lab without root. */
  readonly netns: string | undefined;
  readonly ipv4: string;
  /** undefined in a lab without root: loopback has one IPv6 address only. */
  readonly ipv6: string | undefined;
  readonly ipv4AllocRange: string;
  readonly ipv6AllocRange: string;
  readonly paths: NodePaths;
  /** What the agent writes on its standard streams. */
  readonly outputFile: string;
}

export interface LabLayout {
  readonly name: string;
  /** Folder of this lab: record, state of the nodes, bpffs. */
  readonly dir: string;
  readonly recordFile: string;
  /** Namespace of the bridge that joins the nodes. */
  readonly fabricNetns: string;
  /** The bpffs of this lab is mounted here; each node has a folder in it. */
  readonly bpfDir: string;
  /** State that the nodes share. */
  readonly storeFile: string;
  /** Ranges of all endpoints of the cluster. */
  readonly clusterRanges: readonly string[];
  readonly nodes: readonly NodeLayout[];
}

export interface LabLayoutOptions {
  readonly name: string;
  readonly nodes: number;
  /** Folder that holds the labs. */
  readonly labsDir?: string | undefined;
  /** Whether nodes are namespaces, or loopback addresses of this machine (127.X.Y.11, .12, ...). */
  readonly isolation: 'namespaces' | 'loopback';
}

/** @throws UsageError code LAB_NAME */
export function checkLabName(name: string): string {
  if (LAB_NAME.test(name)) return name;
  throw new UsageError(`${JSON.stringify(name)} is no name of a lab`, {
    code: 'LAB_NAME',
    hint: 'one to ten lower-case letters and digits, a letter first',
  });
}

/** @throws UsageError code WORKLOAD_NAME */
export function checkWorkloadName(name: string): string {
  if (WORKLOAD_NAME.test(name)) return name;
  throw new UsageError(`${JSON.stringify(name)} is no name of a workload`, {
    code: 'WORKLOAD_NAME',
    hint: 'lower-case letters, digits and dashes, at most 40',
  });
}

/** The prefix that every namespace of a lab carries, and no other lab's: a lab's name has no dash. */
export function netnsPrefix(labName: string): string {
  return `ciliate-${labName}-`;
}

/** Two octets, 1 to 254 each, that follow from the lab's folder: labs without namespaces share the loopback's addresses. */
function loopbackNet(dir: string): string {
  const [a = 0, b = 0] = createHash('sha256').update(dir).digest();
  return `127.${1 + (a % 254)}.${1 + (b % 254)}`;
}

function nodeLayout(options: LabLayoutOptions, dir: string, index: number): NodeLayout {
  const name = `node${index}`;
  const isolated = options.isolation === 'namespaces';
  return {
    name,
    index,
    netns: isolated ? `${netnsPrefix(options.name)}${name}` : undefined,
    ipv4: isolated ? `172.30.0.${index}` : `${loopbackNet(dir)}.${10 + index}`,
    ipv6: isolated ? `fd30::${index}` : undefined,
    ipv4AllocRange: `10.10.${index}.0/24`,
    ipv6AllocRange: `fd10:0:0:${index}::/112`,
    paths: nodePaths(join(dir, name), join(dir, 'bpf', name)),
    outputFile: join(dir, name, 'agent.out'),
  };
}

/**
 * Computes a lab's layout; touches nothing.
 * @throws UsageError when the name or the number of nodes will not do
 */
export function labLayout(options: LabLayoutOptions): LabLayout {
  checkLabName(options.name);
  if (!Number.isInteger(options.nodes) || options.nodes < 1 || options.nodes > MAX_LAB_NODES) {
    throw new UsageError(`a lab has 1 to ${MAX_LAB_NODES} nodes, not ${options.nodes}`, {
      code: 'LAB_NODES',
    });
  }
  const dir = join(options.labsDir ?? DEFAULT_LABS_DIR, options.name);
  return {
    name: options.name,
    dir,
    recordFile: join(dir, 'lab.json'),
    fabricNetns: `${netnsPrefix(options.name)}fabric`,
    bpfDir: join(dir, 'bpf'),
    storeFile: join(dir, 'store.db'),
    clusterRanges: ['10.10.0.0/16', 'fd10::/48'],
    nodes: Array.from({ length: options.nodes }, (_, i) => nodeLayout(options, dir, i + 1)),
  };
}
