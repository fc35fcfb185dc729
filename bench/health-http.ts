/**
 * How far the network part that an HTTP probe reports is from the gap between SYN and SYN-ACK on the wire (tcpdump's
 * stamps on the prober's device), and how far the total is, which is what a client's stopwatch would report as the
 * latency, as Cilium's does. Sequential probes over a way of 1 ms, with four busy loops beside them.
 *
 * Aims: p99 of the network part's error <= 20 us, a twenty-fifth of the total's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { createHttpProbe } from '../probes/http/index.ts';
import { createResponder } from '../probes/responder/index.ts';
import { loadSockets } from '../src/base/sockets/index.ts';
import { NetnsLab } from '../test/support/netns.ts';
import { whyNoRoot } from '../test/support/privilege.ts';
import { DelayWire } from './support/delay-wire.ts';
import { percentile, report } from './support/measure.ts';

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
    const http = createHttpProbe({ netns: lab.path(a), timeoutMs: 5000 });
    const phases: (Readonly<Record<string, number>> | undefined)[] = [];
    for (let i = 0; i < PROBES; i++) {
      const result = await http.probe('10.98.0.2');
      phases.push(result.kind === 'reply' ? result.phases : undefined);
    }
    await delay(1500);
    dump.kill('SIGINT');
    await once(dump, 'close');
    tell(phases, gaps(text));
    await http.stop();
  } finally {
    for (const child of [dump, ...busy]) child.kill('SIGKILL');
    await responder.stop();
  }
}

function tell(
  phases: readonly (Readonly<Record<string, number>> | undefined)[],
  wire: readonly number[],
): void {
  if (wire.length !== phases.length) {
    console.log(`tcpdump saw ${wire.length} handshakes of ${phases.length}: no figures`);
    process.exitCode = 1;
    return;
  }
  const errors = (name: string): number[] =>
    phases.flatMap((one, i) => {
      const value = one?.[name];
      return value === undefined ? [] : [Math.abs(value - (wire[i] ?? 0)) / 1000];
    });
  const [network, total] = [errors('network'), errors('total')];
  const us = { unit: 'us' };
  report('the network part of an HTTP probe against the wire', [
    { what: 'handshake on the wire, p50', value: percentile(wire, 0.5) / 1000, ...us },
    { what: 'network part, error p50', value: percentile(network, 0.5), ...us },
    { what: 'network part, error p99', value: percentile(network, 0.99), ...us, aim: '<= 20' },
    { what: 'total, error p50', value: percentile(total, 0.5), ...us },
    { what: 'total, error p99', value: percentile(total, 0.99), ...us },
    {
      what: "p99 of the total's error / of the network part's",
      value: percentile(total, 0.99) / percentile(network, 0.99),
      unit: 'x',
      aim: '>= 25',
    },
    { what: 'probes without a network part', value: phases.length - network.length, unit: '' },
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
