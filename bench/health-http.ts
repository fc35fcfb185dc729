/**
 * How far the network part that an HTTP probe reports is from the gap between SYN and SYN-ACK on the wire (tcpdump's
 * stamps on the prober's device), by programs on the device and by the kernel's TCP_INFO in turns, and how far the total
 * is, which is what a client's stopwatch would report as the latency, as Cilium's does. Sequential probes over a way of
 * 1 ms, with four busy loops beside them.
 *
 * Aims, with programs: p99 of the network part's error <= 20 us, a twenty-fifth of the total's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { createProbeEngine } from '../probes/engine/index.ts';
import { createHttpProbe } from '../probes/http/index.ts';
import { createResponder } from '../probes/responder/index.ts';
import { loadSockets } from '../src/base/sockets/index.ts';
import { NetnsLab } from '../test/support/netns.ts';
import { whyNoRoot } from '../test/support/privilege.ts';
import { DelayWire } from './support/delay-wire.ts';
import { percentile, report } from './support/measure.ts';

/** With programs, and as many without. */
const PROBES = 1000;
const LOOPS = 4;
/** Each way. Without it the answer is there while `connect` has the socket to itself, which no network does. */
const WAY_US = 500;
const PORT = 4240;
const LINE = /^(\d+)\.(\d{9}) IP 10\.98\.0\.(\d)\.(\d+) > 10\.98\.0\.\d\.(\d+): Flags \[(S\.?)\]/;

/** Gaps between SYN and SYN-ACK, ns, in their order. */
function gaps(text: string): number[] {
  const syn = new Map<number, bigint>();
  const found: number[] = [];
  for (const line of text.split('\n')) {
    const [, seconds, fraction, , from, to, flags] = LINE.exec(line) ?? [];
    if (seconds === undefined || fraction === undefined) continue;
    const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction);
    if (flags === 'S') syn.set(Number(from), ns);
    else found.push(Number(ns - (syn.get(Number(to)) ?? ns)));
  }
  return found;
}

type Phases = Readonly<Record<string, number>> | undefined;

async function measure(lab: NetnsLab, wire: DelayWire): Promise<void> {
  const [a, middle, b] = [await lab.namespace('a'), await lab.namespace('m'), await lab.namespace('b')];
  await lab.veth({ name: 'eth0', netns: a, addresses: ['10.98.0.1/24'] }, { name: 'left', netns: middle });
  await lab.veth({ name: 'right', netns: middle }, { name: 'eth0', netns: b, addresses: ['10.98.0.2/24'] });
  await wire.start(lab.path(middle), WAY_US);
  const bind = { address: '10.98.0.2', port: PORT };
  const fd = loadSockets().openSocket({ family: 4, type: 'stream', netns: lab.path(b), bind, listen: 64 });
  const responder = createResponder({ listen: [{ kind: 'fd', fd }] });
  await responder.start();
  const filter = `tcp port ${PORT} and (tcp[tcpflags] & tcp-syn != 0)`;
  const words = ['-i', 'eth0', '-nn', '-tt', '--nano', '-l', '-B', '8192', filter];
  const dump = spawn('nsenter', [`--net=${lab.path(a)}`, 'tcpdump', ...words]);
  const busy: ChildProcess[] = [];
  try {
    let text = '';
    dump.stdout.on('data', (chunk) => (text += String(chunk)));
    await once(dump.stderr, 'data');
    await delay(500);
    for (let i = 0; i < LOOPS; i++) busy.push(spawn(process.execPath, ['-e', 'for (;;);']));
    const phases = await probeAll(lab.path(a));
    await delay(1500);
    dump.kill('SIGINT');
    await once(dump, 'close');
    tell(phases, gaps(text));
  } finally {
    for (const child of [dump, ...busy]) child.kill('SIGKILL');
    await responder.stop();
  }
}

/** @returns phases of each probe: of those at even places programs stamped the handshake */
async function probeAll(netns: string): Promise<Phases[]> {
  const netnsFd = openSync(netns, 'r');
  const devices = [loadSockets().interfaceIndex('eth0', netns)];
  const engine = createProbeEngine({ origins: [{ netnsFd, devices }], mode: 'bpf', pathsMax: 64 });
  const common = { netns, timeoutMs: 5000 };
  const probes = [createHttpProbe({ ...common, handshakes: engine }), createHttpProbe(common)];
  const phases: Phases[] = [];
  try {
    for (let i = 0; i < PROBES; i++)
      for (const probe of probes) {
        const result = await probe.probe('10.98.0.2');
        phases.push(result.kind === 'reply' ? result.phases : undefined);
      }
  } finally {
    for (const probe of probes) await probe.stop();
    await engine.stop();
    closeSync(netnsFd);
  }
  return phases;
}

function tell(phases: readonly Phases[], wire: readonly number[]): void {
  if (wire.length !== phases.length) {
    console.log(`tcpdump saw ${wire.length} handshakes of ${phases.length}: no figures`);
    process.exitCode = 1;
    return;
  }
  const us = { unit: 'us' };
  const rows = ['programs', 'TCP_INFO'].flatMap((source, turn) => {
    const errors = (name: string): number[] =>
      phases.flatMap((one, i) => {
        const value = i % 2 === turn ? one?.[name] : undefined;
        return value === undefined ? [] : [Math.abs(value - (wire[i] ?? 0)) / 1000];
      });
    const [network, total] = [errors('network'), errors('total')];
    const ratio = percentile(total, 0.99) / percentile(network, 0.99);
    const isAimed = turn === 0;
    return [
      { what: `network part by ${source}, error p50`, value: percentile(network, 0.5), ...us },
      {
        ...{ what: `network part by ${source}, error p99`, value: percentile(network, 0.99), ...us },
        ...(isAimed && { aim: '<= 20' }),
      },
      { what: 'total of the same probes, error p50', value: percentile(total, 0.5), ...us },
      { what: 'total of the same probes, error p99', value: percentile(total, 0.99), ...us },
      {
        ...{ what: "p99 of the total's error / of the network part's", value: ratio, unit: 'x' },
        ...(isAimed && { aim: '>= 25' }),
      },
      { what: 'probes without a network part', value: PROBES - network.length, unit: '' },
    ];
  });
  report('the network part of an HTTP probe against the wire', [
    { what: 'handshake on the wire, p50', value: percentile(wire, 0.5) / 1000, ...us },
    ...rows,
    { what: 'load average of the last minute, the loops among it', value: loadavg()[0] ?? 0, unit: '' },
  ]);
}

const why = whyNoRoot();
if (why !== undefined) {
  console.error(why);
  process.exitCode = 1;
} else {
  const lab = new NetnsLab('hb');
  const wire = new DelayWire();
  try {
    await measure(lab, wire);
  } finally {
    await wire.stop();
    await lab.cleanUp();
  }
}
