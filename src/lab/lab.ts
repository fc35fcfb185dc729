import { existsSync } from 'node:fs';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { NotPermittedError, SystemError, UsageError } from '../base/errors.ts';
import { makeFolder } from '../base/make-folder.ts';
import type { RunResult } from '../base/run.ts';
import { type AgentOptions, agentReady, startAgent } from './agent-process.ts';
import { deleteNetns, execIn, listNetns, mountBpffs, unmount } from './host.ts';
import { type LabLayout, type LabLayoutOptions, labLayout, type NodeLayout, netnsPrefix } from './layout.ts';
import { createFabric, createNodeNetwork } from './network.ts';
import {
  isAlive,
  type ProcessRef,
  processesOf,
  processRef,
  startDetached,
  stopNamespaces,
  stopProcesses,
} from './processes.ts';
import { type LabRecord, newRecord, readRecord, type WorkloadRecord, writeRecord } from './record.ts';
import { createWorkload, type WorkloadSpec } from './workload.ts';

const STOP_GRACE_MS = 5000;

export interface LabOptions extends LabLayoutOptions {
  readonly agent: AgentOptions;
  /** Told what is being done. */
  readonly onProgress?: ((text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A cluster on this machine. What is made is written down first, so that `takeDown` in any process removes all of it,
 * also after a crash.
 */
export class Lab {
  readonly layout: LabLayout;
  #record: LabRecord;

  constructor(layout: LabLayout, record: LabRecord) {
    this.layout = layout;
    this.#record = record;
  }

  get record(): LabRecord {
    return this.#record;
  }

  get workloads(): readonly WorkloadRecord[] {
    return this.#record.workloads;
  }

  /** @throws UsageError code LAB_NODE */
  node(name: string): NodeLayout {
    const node = this.layout.nodes.find((candidate) => candidate.name === name);
    if (node !== undefined) return node;
    const known = this.layout.nodes.map((candidate) => candidate.name).join(', ');
    throw new UsageError(`no node ${JSON.stringify(name)} in the lab ${this.layout.name}`, {
      code: 'LAB_NODE',
      hint: `there are ${known}`,
    });
  }

  /** @throws UsageError code LAB_WORKLOAD */
  workload(name: string): WorkloadRecord {
    const workload = this.workloads.find((candidate) => candidate.name === name);
    if (workload !== undefined) return workload;
    const known = this.workloads.map((candidate) => candidate.name).join(', ');
    throw new UsageError(`no workload ${JSON.stringify(name)} in the lab ${this.layout.name}`, {
      code: 'LAB_WORKLOAD',
      hint: known === '' ? 'it has none' : `there are ${known}`,
    });
  }

  /** Starts a node's agent and waits until it is well. */
  async startAgent(nodeName: string, options: AgentOptions, signal?: AbortSignal): Promise<ProcessRef> {
    const node = this.node(nodeName);
    const ref = await startAgent(this.layout, node, options);
    this.#update({ agents: { ...this.#record.agents, [nodeName]: ref } });
    await agentReady(node, ref, signal);
    return ref;
  }

  /** Makes a workload on a node, as a CNI plugin would. */
  async addWorkload(spec: Omit<WorkloadSpec, 'node'> & { readonly node: string }): Promise<WorkloadRecord> {
    if (this.workloads.some(({ name }) => name === spec.name)) {
      throw new UsageError(`the lab ${this.layout.name} has a workload ${spec.name} already`, {
        code: 'LAB_WORKLOAD',
      });
    }
    const workload = await createWorkload(this.layout.name, { ...spec, node: this.node(spec.node) });
    this.#update({ workloads: [...this.workloads, workload] });
    return workload;
  }

  /** Starts a program inside a workload; it lives as long as the lab. */
  async runIn(workloadName: string, argv: readonly string[], outputFile: string): Promise<ProcessRef> {
    const workload = this.workload(workloadName);
    const ref = await startDetached({ argv, netns: workload.netns, outputFile });
    const workloads = this.workloads.map((one) =>
      one.name === workloadName ? { ...one, process: ref } : one,
    );
    this.#update({ workloads });
    return ref;
  }

  /**
   * A node or a workload by its name.
   * @throws UsageError code LAB_PLACE
   */
  place(name: string): NodeLayout | WorkloadRecord {
    const places = [...this.layout.nodes, ...this.workloads];
    const found = places.find((candidate) => candidate.name === name);
    if (found !== undefined) return found;
    throw new UsageError(`no node or workload ${JSON.stringify(name)} in the lab ${this.layout.name}`, {
      code: 'LAB_PLACE',
      hint: `there are ${places.map((candidate) => candidate.name).join(', ')}`,
    });
  }

  /** Runs a command inside a workload or on a node and waits for its end. */
  exec(name: string, argv: readonly string[], timeoutMs?: number): Promise<RunResult> {
    return execIn(this.place(name).netns, argv, timeoutMs);
  }

  /** Says that the lab is whole: from now on it belongs to nobody and stays when its builder ends. */
  finish(): void {
    this.#update({ state: 'up' });
  }

  #update(change: Partial<LabRecord>): void {
    this.#record = { ...this.#record, ...change };
    writeRecord(this.layout.recordFile, this.#record);
  }
}

/** Claims the lab's name on this machine, and with it its folder. */
async function claim(layout: LabLayout, options: LabLayoutOptions): Promise<LabRecord> {
  try {
    makeFolder(dirname(layout.dir));
    await mkdir(layout.dir);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) {
      throw new SystemError(`cannot make the lab's folder ${layout.dir}`, { code: 'LAB_FOLDER', cause });
    }
    throw new UsageError(`there is a lab ${layout.name} already`, {
      code: 'LAB_EXISTS',
      hint: `\`ciliate lab down --name ${layout.name}\` takes it down, another --name makes a second one`,
    });
  }
  const builder = processRef(process.pid);
  if (builder === undefined) throw new SystemError('this process is not in /proc', { code: 'LAB_PROC' });
  const record = newRecord(options, builder);
  writeRecord(layout.recordFile, record);
  return record;
}

async function buildNetwork(layout: LabLayout): Promise<void> {
  await createFabric(layout);
  for (const node of layout.nodes) {
    if (node.netns !== undefined) await createNodeNetwork(layout, { ...node, netns: node.netns });
  }
}

/**
 * Builds a lab: network, bpffs, an agent in each node. When a step fails, what was made is taken down again.
 * @throws UsageError code LAB_EXISTS; SystemError of the step that failed
 */
export async function createLab(options: LabOptions): Promise<Lab> {
  const layout = labLayout(options);
  const { name, nodes, labsDir, isolation } = options;
  const lab = new Lab(
    layout,
    await claim(layout, { name, nodes, isolation, ...(labsDir ? { labsDir } : {}) }),
  );
  const progress = options.onProgress ?? (() => undefined);
  try {
    if (isolation === 'namespaces') {
      progress(`network of ${nodes} nodes`);
      await buildNetwork(layout);
      if (options.agent.datapath === 'bpf') await mountBpffs(layout.bpfDir);
    }
    for (const node of layout.nodes) {
      options.signal?.throwIfAborted();
      progress(`agent of ${node.name}`);
      await lab.startAgent(node.name, options.agent, options.signal);
    }
    return lab;
  } catch (error) {
    await takeDown(layout);
    throw error;
  }
}

/**
 * Opens a lab that is there.
 * @throws UsageError code LAB_MISSING
 */
export function openLab(name: string, labsDir?: string): Lab {
  const probe = labLayout({ name, nodes: 1, labsDir, isolation: 'namespaces' });
  const record = readRecord(probe.recordFile);
  if (record === undefined) {
    const roots = labLayout({ name, nodes: 1, isolation: 'namespaces' });
    const ofRoot = roots.dir !== probe.dir && existsSync(roots.recordFile);
    throw new UsageError(`there is no lab ${name}${ofRoot ? ' of this user' : ''}`, {
      code: 'LAB_MISSING',
      hint: ofRoot ? `root has one in ${roots.dir}: run as root` : '`ciliate lab up` makes one',
    });
  }
  return new Lab(labLayout(record.options), record);
}

/** A lab whose builder died before it was whole: nobody will take it down. */
export function isAbandoned(record: LabRecord): boolean {
  return record.state === 'building' && !isAlive(record.builder);
}

/**
 * Removes a lab in whatever state it is: processes, namespaces with their links, bpffs with its pins, folder.
 * May be called again. @returns whether there was anything
 * @throws NotPermittedError code LAB_FOREIGN for a lab of root's
 */
export async function takeDown(layout: LabLayout): Promise<boolean> {
  const there = listNetns(netnsPrefix(layout.name));
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && there.length > 0 && !existsSync(layout.dir))
    throw new NotPermittedError(`the lab ${layout.name} is root's`, {
      code: 'LAB_FOREIGN',
      hint: 'run as root',
    });
  // Another user's lab has none: those are of root's lab of the same name.
  const netnses = isRoot ? there : [];
  const found = netnses.length > 0 || existsSync(layout.dir);
  await stopProcesses(processesOf(layout.dir), STOP_GRACE_MS);
  await stopNamespaces(netnses, STOP_GRACE_MS);
  // Listed again: an agent that was just starting may have made its health endpoint's since.
  const left = isRoot ? listNetns(netnsPrefix(layout.name)) : [];
  for (const netns of left) await deleteNetns(netns);
  await unmount(layout.bpfDir);
  await rm(layout.dir, { recursive: true, force: true });
  await removeIfEmpty(dirname(layout.dir));
  return found;
}

/** The folder of the labs goes with the last of them, unless it is somebody else's. */
async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (!['ENOTEMPTY', 'ENOENT', 'EACCES', 'EPERM', 'EBUSY', 'EROFS'].includes(String(code))) throw error;
  }
}
