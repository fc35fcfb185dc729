/**
 * `engine-child.ts JSON`: runs a probe engine in the namespace it was started in and prints one line of JSON. What it
 * spends before the first probe is not counted. With `serve` it only answers, until its standard input ends.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createProbeEngine, type EngineMode, type ProbeEngine } from '../../probes/engine/index.ts';

export interface EngineTask {
  readonly mode: EngineMode;
  /** Index of the device; 0: none. */
  readonly device: number;
  readonly responder: 'icmp' | 'echo';
  readonly targets: readonly string[];
  /** Probes of each target at once, or 0: at `periodMs` for `seconds`. */
  readonly count: number;
  readonly periodMs?: number;
  readonly seconds?: number;
  readonly packetsPerSecond?: number;
  readonly turnMs?: number;
  /** Of each second, how long the event loop is blocked. */
  readonly blockMs?: number;
  /** Print the round trip of each path. */
  readonly each?: boolean;
  /** Answer echoes at `targets` for this address. */
  readonly serve?: string;
}

export interface EngineOutcome {
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly duplicate: number;
  readonly failed: number;
  readonly unstamped: number;
  readonly ownDrops: number;
  /** Of the process, user and system, from the first probe to the last answer. */
  readonly cpuUs: number;
  /** Of that, the engine's thread as it meters itself. */
  readonly selfUs: number;
  /** The same by the scheduler's books. */
  readonly threadUs: number;
  /** From the first request for a probe to the last answer. */
  readonly wallMs: number;
  readonly lagMaxMs: number;
  readonly rttNs?: Readonly<Record<string, number>>;
}

const FIELDS = ['sent', 'answered', 'lost', 'duplicate', 'failed', 'unstamped'] as const;
const LOOK_MS = 50;
const LIMIT_MS = 60_000;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The prober's thread; undefined before it has run. */
function proberTask(): string | undefined {
  return readdirSync('/proc/self/task').find((id) =>
    readFileSync(`/proc/self/task/${id}/comm`, 'utf8').startsWith('ciliate-prober'),
  );
}

/** Time on a CPU of the prober's thread. */
function threadUs(): number {
  return Number(readFileSync(`/proc/self/task/${proberTask()}/schedstat`, 'utf8').split(' ')[0]) / 1000;
}

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

function totals(engine: ProbeEngine, paths: readonly number[]): Record<(typeof FIELDS)[number], number> {
  const sums = { sent: 0, answered: 0, lost: 0, duplicate: 0, failed: 0, unstamped: 0 };
  for (const path of paths) {
    const counts = engine.counts(path);
    for (const field of FIELDS) sums[field] += counts[field];
  }
  return sums;
}

async function settled(engine: ProbeEngine, task: EngineTask, paths: readonly number[]): Promise<void> {
  const wanted = task.targets.length * task.count;
  for (let ms = 0; ms < LIMIT_MS; ms += LOOK_MS) {
    await sleep(LOOK_MS);
    if (task.blockMs !== undefined) {
      block(task.blockMs);
      await sleep(1000 - task.blockMs);
    }
    if (engine.self().sent < wanted) continue;
    const { answered, lost, failed } = totals(engine, paths);
    if (answered + lost + failed >= wanted) return;
  }
}

/** Probes at the paths' periods. For the times of the last ones, nothing is sent any more when it resolves. */
async function periodically(engine: ProbeEngine, task: EngineTask, paths: readonly number[]): Promise<void> {
  const { seconds = 0, blockMs = 0 } = task;
  for (let second = 0; second < seconds; second++) {
    if (blockMs > 0) block(blockMs);
    await sleep(1000 - blockMs);
  }
  if (task.each !== true) return;
  for (const path of paths) engine.pace(path, 0);
  await sleep(LOOK_MS * 4);
}

async function measure(engine: ProbeEngine, task: EngineTask): Promise<EngineOutcome> {
  const { responder, count, periodMs = 0, seconds = 0 } = task;
  const paths = task.targets.map((address) => engine.open({ address, responder, origin: 0, periodMs }));
  // The thread takes the openings first; what is periodic gets a round to warm up.
  await sleep(count === 0 ? 1500 : 200);
  while (proberTask() === undefined) await sleep(LOOK_MS);
  const before = {
    cpu: process.cpuUsage(),
    thread: threadUs(),
    self: engine.self(),
    atNs: process.hrtime.bigint(),
  };
  if (count > 0) {
    for (const path of paths) engine.burst(path, count, 1);
    await settled(engine, task, paths);
  } else {
    await periodically(engine, task, paths);
  }
  // What follows is done once, for the report.
  const { user, system } = process.cpuUsage(before.cpu);
  const self = engine.self();
  const threadAfterUs = threadUs();
  const lastNs = paths.reduce((last, path) => Math.max(last, engine.counts(path).answeredLastNs), 0);
  const wallMs = count > 0 ? (lastNs - Number(before.atNs)) / 1e6 : seconds * 1000;
  return {
    ...totals(engine, paths),
    ...(count === 0 && { sent: self.sent - before.self.sent }),
    ownDrops: self.ownDrops,
    cpuUs: user + system,
    selfUs: (self.cpuNs - before.self.cpuNs) / 1000,
    threadUs: threadAfterUs - before.thread,
    wallMs,
    lagMaxMs: self.lagMaxNs / 1e6,
    ...(task.each === true && {
      rttNs: Object.fromEntries(
        paths.map((path, i) => [task.targets[i] ?? '', engine.counts(path).rttLastNs]),
      ),
    }),
  };
}

const word = process.argv[2] ?? '{}';
const task = JSON.parse(word.startsWith('@') ? readFileSync(word.slice(1), 'utf8') : word) as EngineTask;
/** Addresses that one engine answers at; more are shared out. */
const OWN_MAX = 1000;

function makeEngine(pathsMax?: number): ProbeEngine {
  return createProbeEngine({
    origins: [{ devices: task.device === 0 ? [] : [task.device] }],
    mode: task.mode,
    packetsPerSecond: task.packetsPerSecond ?? 1_000_000,
    turnMs: task.turnMs ?? 20,
    timeoutMs: 5000,
    softTimeoutMs: 4000,
    burst: 0,
    echoesPerSecond: 1_000_000_000,
    pathsMax,
  });
}

async function serve(address: string): Promise<void> {
  const engines: ProbeEngine[] = [];
  for (let at = 0; at < task.targets.length; at += OWN_MAX) {
    const engine = makeEngine(1);
    await engine.start();
    engine.setPeers([address], task.targets.slice(at, at + OWN_MAX));
    engines.push(engine);
  }
  console.log('ready');
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.on('end', resolve));
  await Promise.all(engines.map((engine) => engine.stop()));
}

if (task.serve === undefined) {
  const engine = makeEngine();
  await engine.start();
  console.log(JSON.stringify(await measure(engine, task)));
  await engine.stop();
} else {
  await serve(task.serve);
}
