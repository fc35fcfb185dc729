/**
 * From a change of policy to its effect on packets: a datagram every 200 us between two endpoints of one agent with the
 * real datapath. The clock starts with the call of the REST API that adds or removes a rule, and stops with the last
 * datagram that still passed (deny) or the first that passed again (allow). Once with the one endpoint selected, then with
 * 100: at the one that is written first, and at the one that is written last. Beside it what of the time the agent, which
 * is this process, was stopped: the longest pause of garbage collection, how long its thread waited for a CPU, and what a
 * loop takes that only computes: its p99 above its p50 is the machine's. And how
 * long an endpoint takes from PUT to ready. Cilium 1.19.4 by this method: p50 7 ms, and 45 ms when the rule selects 48
 * endpoints; CNI ADD p50 265 ms. Needs root and BPF.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentClient } from '../src/api/client.ts';
import { runChecked } from '../src/base/run.ts';
import { DatapathLab } from '../test/support/datapath-lab.ts';
import { createLiveAgent, endpointRequest } from '../test/support/live-agent.ts';
import { whyNoBpf } from '../test/support/privilege.ts';
import { NICE } from './support/load.ts';
import { type BenchRow, median, report } from './support/measure.ts';

const ROUNDS = Number(process.env.CILIATE_BENCH_ROUNDS ?? 200);
/** Beside the first and the last. */
const MANY = 98;
const REST_MS = 60;
const COMPUTE_TURNS = 3_000_000;
const PORT = 9000;
const RULE = JSON.stringify([
  {
    endpointSelector: { matchLabels: { 'k8s:role': 'server' } },
    ingress: [{ fromEndpoints: [{ matchLabels: { 'k8s:role': 'nobody' } }] }],
    labels: [{ key: 'bench', value: '', source: 'unspec' }],
  },
]);

/** @returns ms from the call until the endpoint is ready */
async function addEndpoint(
  client: AgentClient,
  id: number,
  role: string,
  device: Parameters<typeof endpointRequest>[1],
): Promise<number> {
  const started = performance.now();
  const made = await client.putEndpoint(String(id), endpointRequest(role, device));
  if (made?.status?.state !== 'ready') throw new Error(`endpoint ${id} is ${made?.status?.state}`);
  return performance.now() - started;
}

/** The stream's last change of state and the wish for the next. */
class Stream {
  readonly #child: ChildProcess;
  readonly #changes: { readonly on: boolean; readonly ns: bigint }[] = [];

  constructor(program: string, words: readonly string[]) {
    this.#child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('the stream has no output');
    createInterface({ input: stdout }).on('line', (line) => {
      const [state, ns = '0'] = line.split(' ');
      this.#changes.push({ on: state === 'on', ns: BigInt(ns) });
    });
  }

  /** Waits until the stream is `on` or off. @returns when it changed */
  async reaches(on: boolean): Promise<bigint> {
    for (let waited = 0; waited < 5000; waited++) {
      const last = this.#changes.at(-1);
      if (last?.on === on) return last.ns;
      await delay(1);
    }
    throw new Error(`datagrams ${on ? 'do not pass' : 'still pass'} after 5 s`);
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

interface Times {
  readonly deny: number[];
  readonly allow: number[];
  /** What of them is not ours: pauses of garbage collection, and of each second how long the thread waited for a CPU. */
  readonly pauses: number[];
  waitedMsPerSecond: number;
  /** Computing without any memory, of some 4 ms, between the changes: what the machine alone adds. */
  readonly computing: number[];
}

/** Computes for some 4 ms. @returns ms that it took */
function compute(): number {
  const begun = performance.now();
  let x = 1;
  for (let i = 0; i < COMPUTE_TURNS; i++) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0;
  if (x === 0) throw new Error('the generator has no such state');
  return performance.now() - begun;
}

/** Milliseconds that the main thread was ready to run and had no CPU (`/proc/<pid>/schedstat`, second number, ns). */
function waitedMs(): number {
  const [, waitedNs = '0'] = readFileSync('/proc/self/schedstat', 'utf8').split(' ');
  return Number(waitedNs) / 1e6;
}

/** Adds and removes the rule, round by round. @returns ms from the calls to the effects */
async function toggle(client: AgentClient, stream: Stream, rounds = ROUNDS): Promise<Times> {
  const times: Times = { deny: [], allow: [], pauses: [0], waitedMsPerSecond: 0, computing: [] };
  const observer = new PerformanceObserver((list) => {
    times.pauses.push(...list.getEntries().map(({ duration }) => duration));
  });
  observer.observe({ entryTypes: ['gc'] });
  await stream.reaches(true);
  const begun = { at: performance.now(), waited: waitedMs() };
  for (let round = 0; round < rounds; round++) {
    await delay(REST_MS / 2);
    times.computing.push(compute());
    await delay(REST_MS / 2);
    let asked = process.hrtime.bigint();
    await client.putPolicy(RULE);
    times.deny.push(Math.max(0, Number((await stream.reaches(false)) - asked) / 1e6));
    await delay(REST_MS);
    asked = process.hrtime.bigint();
    await client.deletePolicy(['unspec:bench=']);
    times.allow.push(Math.max(0, Number((await stream.reaches(true)) - asked) / 1e6));
  }
  times.waitedMsPerSecond = (1000 * (waitedMs() - begun.waited)) / (performance.now() - begun.at);
  observer.disconnect();
  return times;
}

function rowsOf(what: string, times: readonly number[], aims: { p50?: string; p99?: string }): BenchRow[] {
  const sorted = [...times].sort((a, b) => a - b);
  const p99 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0;
  const row = (name: string, value: number, aim: string | undefined): BenchRow => ({
    what: `${what}, ${name}`,
    value,
    unit: 'ms',
    ...(aim !== undefined && { aim }),
  });
  return [row('p50', median(times), aims.p50), row('p99', p99, aims.p99)];
}

/**
 * More endpoints that the rule selects: their far ends stay on the node, for nobody speaks to them.
 * @returns ms from PUT to ready of the first half, one after the other, and of all the others, asked for at once
 */
async function addMany(lab: DatapathLab, client: AgentClient): Promise<{ each: number[]; atOnce: number }> {
  const devices = [];
  for (let i = 0; i < MANY; i++) {
    const name = `lxcm${i}`;
    await lab.net.ip('-n', lab.node, 'link', 'add', name, 'type', 'veth', 'peer', 'name', `far${i}`);
    const [mac, hostMac] = [await lab.mac(lab.node, `far${i}`), await lab.mac(lab.node, name)];
    devices.push({ id: 100 + i, device: { name, ipv4: `10.66.0.${100 + i}`, mac, hostMac } });
  }
  const each: number[] = [];
  for (const { id, device } of devices.splice(0, MANY / 2))
    each.push(await addEndpoint(client, id, 'server', device));
  const begun = performance.now();
  await Promise.all(devices.map(({ id, device }) => addEndpoint(client, id, 'server', device)));
  return { each, atOnce: performance.now() - begun };
}

async function run(lab: DatapathLab, folder: string): Promise<void> {
  setPriority(NICE);
  await lab.start();
  await lab.datapath.stop();
  const { agent, client } = createLiveAgent(lab, folder);
  await agent.start();
  let stream: Stream | undefined;
  try {
    const [a, b] = [await lab.pod(10, 0), await lab.pod(11, 0)];
    for (const [{ endpoint, ipv4 }, role] of [[a, 'client'] as const, [b, 'server'] as const]) {
      await addEndpoint(client, endpoint.id, role, { ...endpoint, name: endpoint.ifname, ipv4 });
    }
    const program = join(folder, 'udpstream');
    const source = join(import.meta.dirname, 'support', 'udpstream.c');
    await runChecked(['cc', '-O2', '-o', program, source]);
    const namespaces = [b, a].map(({ namespace }) => lab.net.path(namespace));
    stream = new Stream(program, [...namespaces, b.ipv4, String(PORT)]);
    const cold = await toggle(client, stream, 1);
    const one = await toggle(client, stream);
    const ready = await addMany(lab, client);
    // The last one made, which is written last.
    const c = await lab.pod(12, 0);
    await addEndpoint(client, 12, 'server', { ...c.endpoint, name: c.endpoint.ifname, ipv4: c.ipv4 });
    const first = await toggle(client, stream);
    await stream.stop();
    stream = new Stream(program, [
      lab.net.path(c.namespace),
      lab.net.path(a.namespace),
      c.ipv4,
      String(PORT),
    ]);
    const last = await toggle(client, stream);
    report('From a change of policy to its effect, and from PUT /endpoint to ready', [
      ...rowsOf('deny, 1 endpoint selected', one.deny, { p50: '<= 7' }),
      ...rowsOf('allow, 1 endpoint selected', one.allow, { p50: '<= 7' }),
      ...rowsOf(`deny, ${MANY + 2} selected, at the first`, first.deny, { p99: '<= 5' }),
      ...rowsOf(`allow, ${MANY + 2} selected, at the first`, first.allow, { p99: '<= 5' }),
      ...rowsOf(`deny, ${MANY + 2} selected, at the last`, last.deny, { p99: '<= 5' }),
      ...rowsOf(`allow, ${MANY + 2} selected, at the last`, last.allow, { p99: '<= 5' }),
      {
        what: `garbage collection, longest pause with ${MANY + 2}`,
        value: Math.max(...first.pauses, ...last.pauses),
        unit: 'ms',
      },
      {
        what: `waited for a CPU, of each second with ${MANY + 2}`,
        value: last.waitedMsPerSecond,
        unit: 'ms',
      },
      ...rowsOf('only computing, between the changes', [...first.computing, ...last.computing], {}),
      ...rowsOf('endpoint, PUT to ready', ready.each, { p50: '<= 265' }),
      { what: `${MANY / 2} endpoints, PUT at once to ready`, value: ready.atOnce, unit: 'ms' },
      { what: 'deny, the first change of the agent', value: cold.deny[0] ?? 0, unit: 'ms' },
    ]);
  } finally {
    await stream?.stop();
    await agent.stop();
  }
}

const missing = whyNoBpf();
if (missing !== undefined) {
  console.log(`skipped: ${missing}`);
} else {
  const folder = mkdtempSync(join(tmpdir(), 'ciliate-bench-'));
  const lab = new DatapathLab('e');
  try {
    await run(lab, folder);
  } finally {
    await lab.cleanUp();
    rmSync(folder, { recursive: true });
  }
}
