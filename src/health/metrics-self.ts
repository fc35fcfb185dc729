import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import type { EngineSelf } from '../../probes/engine/index.ts';
import { addFamily, addNumber } from './metrics-family.ts';

const DELAY_STEP_MS = 20;

type Self = () => EngineSelf | undefined;

/** Totals of the probe engine: name, help, and where the number is. */
const ENGINE_TOTALS: readonly (readonly [string, string, (self: EngineSelf) => number])[] = [
  ['packets_sent', 'Probe packets sent', ({ sent }) => sent],
  ['foreign', 'Answers to no probe of ours, or from another address', ({ foreign }) => foreign],
  ['corrupt', 'Answers with a wrong checksum or length', ({ corrupt }) => corrupt],
  [
    'own_drops',
    'Answers that this machine dropped because the receive buffer was full',
    ({ ownDrops }) => ownDrops,
  ],
  ['paths_refused', 'Paths that were not opened, for there was no room', ({ refused }) => refused],
  ['deferred', 'Turns that a probe waited because the budget was used up', ({ deferred }) => deferred],
  ['echoes', 'Probes of others that our programs answered', ({ echoes }) => echoes],
  ['echoes_refused', 'Probes that they did not answer', ({ echoesRefused }) => echoesRefused],
  ['clock_steps', 'Steps of the wall clock seen between stamps', ({ clockSteps }) => clockSteps],
];

/** Longest of what was seen within `spanMs`: each asker would else take it away from the others. */
export class SlidingMax {
  readonly #spanMs: number;
  #seen: { readonly atMs: number; readonly value: number }[] = [];

  constructor(spanMs: number) {
    this.#spanMs = spanMs;
  }

  take(value: number, nowMs: number): number {
    this.#seen = this.#seen.filter(({ atMs, value: old }) => nowMs - atMs < this.#spanMs && old > value);
    this.#seen.push({ atMs: nowMs, value });
    return this.#seen[0]?.value ?? value;
  }
}

interface EngineBudget {
  readonly packetsPerSecond: number;
  readonly cpuPercent: number;
}

function addBudget(registry: Registry, budget: EngineBudget): void {
  addNumber(registry, {
    name: 'ciliate_health_budget_packets_per_second',
    help: 'Probe packets a second at most',
    type: 'gauge',
    read: () => budget.packetsPerSecond,
  });
  addNumber(registry, {
    name: 'ciliate_health_budget_cpu_ratio',
    help: 'CPU of one core that the thread that sends and matches probes may use at most',
    type: 'gauge',
    read: () => budget.cpuPercent / 100,
  });
}

/** What measuring costs, and what it did not get done. Counters never fall, though an engine begins anew. */
export function addEngine(
  registry: Registry,
  self: Self,
  more: EngineBudget & { readonly lagNs: () => number | undefined },
): void {
  for (const [name, help, read] of ENGINE_TOTALS) {
    addNumber(registry, {
      name: `ciliate_health_${name}_total`,
      help,
      type: 'counter',
      read: neverFalling(() => {
        const now = self();
        return now === undefined ? undefined : read(now);
      }),
    });
  }
  const [thread, programs] = [neverFalling(() => self()?.cpuNs), neverFalling(() => self()?.bpfNs)];
  addFamily(registry, {
    name: 'ciliate_health_engine_cpu_seconds_total',
    help: 'CPU time of the thread that sends and matches probes, and of the programs where BPF statistics are on',
    type: 'counter',
    read: () => [
      { labels: { part: 'thread' }, value: (thread() ?? 0) / 1e9 },
      { labels: { part: 'programs' }, value: (programs() ?? 0) / 1e9 },
    ],
  });
  addNumber(registry, {
    name: 'ciliate_health_engine_lag_seconds',
    help: 'How late a turn of the engine began, the longest of the last minute',
    type: 'gauge',
    read: () => {
      const lagNs = more.lagNs();
      return lagNs === undefined ? undefined : lagNs / 1e9;
    },
  });
  addBudget(registry, more);
  addFamily(registry, {
    name: 'ciliate_health_engine_mode',
    help: 'How probes are stamped: 1 for the mode in force',
    type: 'gauge',
    read: () => {
      const now = self();
      if (now === undefined) return [];
      return [{ labels: { mode: modeOf(now) }, value: 1 }];
    },
  });
}

function modeOf({ mode, programs }: EngineSelf): string {
  if (programs.ready) return 'bpf';
  const ready = [mode[4], mode[6]].find((one) => one.ready);
  return ready?.ready === true ? ready.mode : 'off';
}

function neverFalling(read: () => number | undefined): () => number {
  let told = 0;
  return () => {
    told = Math.max(told, read() ?? 0);
    return told;
  };
}

/** Who followed the events and did not read them. */
export function addFollowers(registry: Registry, followersCut: (() => number | undefined) | undefined): void {
  addNumber(registry, {
    name: 'ciliate_health_followers_cut_total',
    help: 'Followers of /v1beta/events that were cut off because they did not read',
    type: 'counter',
    read: () => followersCut?.(),
  });
}

/** The few numbers of the process itself that an operator looks at; prom-client's own would be 60 series more. */
export function addProcess(registry: Registry): void {
  const startSeconds = (Date.now() - process.uptime() * 1000) / 1000;
  const delay = monitorEventLoopDelay({ resolution: DELAY_STEP_MS });
  delay.enable();
  const number = (name: string, type: 'counter' | 'gauge', help: string, read: () => number): void =>
    addNumber(registry, { name, type, help, read });
  number('process_cpu_seconds_total', 'counter', 'CPU time of the process, all threads', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  number('process_resident_memory_bytes', 'gauge', 'Resident memory', () => process.memoryUsage.rss());
  number('process_start_time_seconds', 'gauge', 'Start of the process, realtime', () => startSeconds);
  number('process_open_fds', 'gauge', 'Open descriptors', () => readdirSync('/proc/self/fd').length);
  number('nodejs_eventloop_lag_p99_seconds', 'gauge', 'Delay of the event loop since the last scrape', () => {
    // What it records is the time from one of its looks to the next.
    const lagNs = delay.percentile(99) - DELAY_STEP_MS * 1e6;
    delay.reset();
    return Math.max(0, lagNs) / 1e9;
  });
}
