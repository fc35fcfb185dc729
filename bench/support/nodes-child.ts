/**
 * `nodes-child.ts JSON`: a whole health agent in the namespace it was started in, of the tree that the task names. Its list
 * grows by all nodes when a line comes in on standard input. Prints one line of JSON: what it took until so long after
 * the last path was opened. Wants `--expose-gc`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { threadMs } from './thread-ms.ts';

export interface NodesTask {
  /** Folder of the sources: another one's are measured the same way. */
  readonly tree: string;
  /** Where the agent's socket is. */
  readonly stateDir: string;
  readonly self: string;
  /** Where peers' probes are answered. */
  readonly host: string;
  readonly endpointNetns?: string | undefined;
}

export interface NodesOutcome {
  readonly paths: number;
  readonly unprobed: number;
  readonly reachable: number;
  readonly unreachable: number;
  /** Processor time of JavaScript's thread, from the list's coming until the last path is open. */
  readonly openMs: number;
  /** Of the process and of that thread, to the end of it all. */
  readonly cpuMs: number;
  readonly threadMs: number;
  /** Longest turn of the event loop: by the clock, and of processor time of the thread. */
  readonly turnMs: number;
  readonly turnCpuMs: number;
  /** Resident memory: more than before the list, at most and at the end; heap with buffers after a collection. */
  readonly peakBytes: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
}

const TURN_LOOK_MS = 1;
const LOOK_MS = 200;
/** After the last path was opened. */
const SETTLE_MS = 10_000;

function statusKib(field: string): number {
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}

function heapBytes(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Looks every ms how long the turn was that ends: the longest so far. */
class Turns {
  wallMs = 0;
  cpuMs = 0;
  #last = { wall: performance.now(), cpu: threadMs() };
  readonly #timer = setInterval(() => this.#look(), TURN_LOOK_MS);

  #look(): void {
    const now = { wall: performance.now(), cpu: threadMs() };
    this.wallMs = Math.max(this.wallMs, now.wall - this.#last.wall - TURN_LOOK_MS);
    this.cpuMs = Math.max(this.cpuMs, now.cpu - this.#last.cpu);
    this.#last = now;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** No path has come for a while. @returns processor time of the thread when the last one came */
async function settled(): Promise<number> {
  let [paths, ms, openMs] = [0, 0, 0];
  while (paths < 100 || ms < SETTLE_MS) {
    await delay(LOOK_MS);
    const now = agent.health.trackers().length;
    ms = now === paths ? ms + LOOK_MS : 0;
    if (now !== paths) openMs = threadMs();
    paths = now;
  }
  return openMs;
}

const task = JSON.parse(process.argv[2] ?? '{}') as NodesTask;
const { startHealthProcess } = (await import(
  join(task.tree, 'src/wiring/health.ts')
)) as typeof import('../../src/wiring/health.ts');
const { nodePaths } = (await import(
  join(task.tree, 'src/base/paths.ts')
)) as typeof import('../../src/base/paths.ts');
const { silentLog } = (await import(
  join(task.tree, 'src/base/log.ts')
)) as typeof import('../../src/base/log.ts');
const paths = nodePaths(task.stateDir, '/nowhere');
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const agent = await startHealthProcess({
  paths,
  agent: { kind: 'unix', path: paths.agentSocket },
  nodeName: task.self,
  interval: { kind: 'fixed', ms: 1000 },
  listen: [{ kind: 'address', host: task.host, port: 4240 }],
  endpointNetns: task.endpointNetns,
  log: silentLog,
} as never);
await delay(3000);
const before = { heap: heapBytes(), kib: statusKib('VmRSS') };
console.log('ready');
await lines.next();
const from = { cpu: process.cpuUsage(), thread: threadMs() };
const turns = new Turns();
const openMs = (await settled()) - from.thread;
turns.stop();
const { user, system } = process.cpuUsage(from.cpu);
const thread = threadMs() - from.thread;
const { health } = agent;
const [residentKib, peakKib] = [statusKib('VmRSS'), statusKib('VmHWM')];
const outcome: NodesOutcome = {
  paths: health.trackers().length,
  unprobed: health.unprobed(),
  reachable: health.trackers().filter(({ state }) => state === 'reachable').length,
  unreachable: health.trackers().filter(({ state }) => state === 'unreachable').length,
  openMs,
  cpuMs: (user + system) / 1000,
  threadMs: thread,
  turnMs: turns.wallMs,
  turnCpuMs: turns.cpuMs,
  peakBytes: (peakKib - before.kib) * 1024,
  residentBytes: (residentKib - before.kib) * 1024,
  heapBytes: heapBytes() - before.heap,
};
console.log(JSON.stringify(outcome));
await agent.stop();
