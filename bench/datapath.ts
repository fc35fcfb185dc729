/**
 * Nanoseconds a packet of the shipped programs by BPF_PROG_TEST_RUN, less those of an empty program in the same run:
 * an established flow between two local endpoints (both policies stand behind the one entry), the first packet of
 * one, and a drop, with 1 and with 10,000 entries in each policy map; and what the node is sent, by a flow that its own
 * policy allows. Rounds are interleaved; medians count.
 *
 * Aims: established <= 60 ns, and 10,000 entries cost <= 1.05 of what 1 does.
 */
import type { BpfProgram } from '../bpf/addon/index.ts';
import { ReservedIdentity } from '../src/model/identity.ts';
import { allow, stateOf } from '../test/support/datapath-lab.ts';
import { packet, TcpFlag, tcp } from '../test/support/packets.ts';
import { whyNoBpf } from '../test/support/privilege.ts';
import { LOOPBACK, ProgramRig, testEndpoint } from '../test/support/program-rig.ts';
import { type BenchRow, median, report } from './support/measure.ts';

const ROUNDS = 9;
const REPEAT = 300_000;
const HOPS = 250;
const NEW_FLOWS = 3000;
const POLICY_SIZES = [1, 10_000] as const;
const ENFORCED = { ingress: true, egress: true };
const A = testEndpoint(1, { identity: 1000, ifindex: LOOPBACK });
const B = testEndpoint(2, { identity: 2000 });
/** 118 bytes, as in most published figures. */
const PAYLOAD = Buffer.alloc(64);

const FAMILIES = {
  IPv4: { source: '10.0.0.1', destination: '10.0.0.2' },
  IPv6: { source: 'fd00::1', destination: 'fd00::2' },
} as const;
type Family = keyof typeof FAMILIES;
const NODE: Readonly<Record<Family, string>> = { IPv4: '192.0.2.1', IPv6: 'fd01::1' };
const OUTSIDE: Readonly<Record<Family, { readonly source: string }>> = {
  IPv4: { source: '198.51.100.7' },
  IPv6: { source: '2001:db8::7' },
};

function frame(family: Family, sourcePort: number, port: number, flags: number): Buffer {
  return packet({
    ...FAMILIES[family],
    sourceMac: A.mac,
    ttl: 255,
    payload: tcp(sourcePort, port, flags, PAYLOAD),
  });
}

interface Bench {
  readonly rig: ProgramRig;
  readonly fromPod: BpfProgram;
  readonly empty: BpfProgram;
}

/** A rig whose endpoints have `entries` policy entries each; the first of them is the one that matters. */
async function prepare(entries: number): Promise<Bench> {
  const rig = new ProgramRig();
  await rig.start(Object.values(NODE), ['10.0.0.0/8', 'fd00::/64']);
  const policy = (direction: 'ingress' | 'egress', peer: number) =>
    stateOf([
      allow(direction, peer, 6, 80),
      ...Array.from({ length: entries - 1 }, (_, i) => allow(direction, 3000 + (i >> 2), 6, 1000 + (i & 3))),
    ]);
  await rig.attach(A, ENFORCED, policy('egress', B.identity));
  await rig.attach(B, ENFORCED, policy('ingress', A.identity));
  await rig.setHostPolicy(stateOf([allow('ingress', ReservedIdentity.world, 6, 80)]));
  rig.setEventKinds(0);
  return { rig, fromPod: rig.loaded.programs.from_pod, empty: rig.loaded.empty };
}

function established({ fromPod }: Bench, family: Family): number {
  fromPod.testRun({ data: frame(family, 4000, 80, TcpFlag.syn) });
  const data = frame(family, 4000, 80, TcpFlag.ack);
  fromPod.testRun({ data });
  return manyRuns(fromPod, data);
}

/** A packet of a flow of the node itself; without a policy of the node the program is on no device. */
function ofNode({ rig }: Bench, family: Family): number {
  const { source: peer } = OUTSIDE[family];
  const way = { source: peer, destination: NODE[family], ttl: 255 };
  const program = rig.loaded.programs.to_host;
  program.testRun({ data: packet({ ...way, payload: tcp(4000, 80, TcpFlag.syn, PAYLOAD) }) });
  const data = packet({ ...way, payload: tcp(4000, 80, TcpFlag.ack, PAYLOAD) });
  return program.testRun({ data, repeat: REPEAT }).durationNs;
}

/** Each repetition takes one hop off the same packet: so as many as it has, many times over. */
function manyRuns(program: BpfProgram, data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < REPEAT / HOPS; i++) sum += program.testRun({ data, repeat: HOPS }).durationNs;
  return sum / (REPEAT / HOPS);
}

function dropped({ fromPod }: Bench, family: Family): number {
  return fromPod.testRun({ data: frame(family, 4000, 81, TcpFlag.syn), repeat: REPEAT / 10 }).durationNs;
}

/** Median of single runs: each first packet can be sent only once. */
function firstPacket({ rig, fromPod, empty }: Bench, family: Family): number {
  rig.clearConntrack();
  const times: number[] = [];
  const floors: number[] = [];
  for (let i = 0; i < NEW_FLOWS; i++) {
    const data = frame(family, 1024 + i, 80, TcpFlag.syn);
    floors.push(empty.testRun({ data }).durationNs);
    times.push(fromPod.testRun({ data }).durationNs);
  }
  return median(times) - median(floors);
}

async function main(): Promise<void> {
  const missing = whyNoBpf();
  if (missing !== undefined) {
    console.log(`skipped: ${missing}`);
    return;
  }
  const benches = new Map<number, Bench>();
  for (const size of POLICY_SIZES) benches.set(size, await prepare(size));
  const samples = new Map<string, number[]>();
  const note = (name: string, value: number): void => {
    samples.set(name, [...(samples.get(name) ?? []), value]);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const family of Object.keys(FAMILIES) as Family[]) {
      for (const [size, bench] of benches) {
        const data = frame(family, 4000, 80, TcpFlag.ack);
        const floor = manyRuns(bench.empty, data);
        note('empty', floor);
        note(`${family} established ${size}`, established(bench, family) - floor);
        note(`${family} drop ${size}`, dropped(bench, family) - floor);
        if (size === 1) note(`${family} node`, ofNode(bench, family) - floor);
        if (round < 3) note(`${family} first ${size}`, firstPacket(bench, family));
      }
    }
  }
  for (const { rig } of benches.values()) rig.close();
  const at = (name: string): number => median(samples.get(name) ?? []);
  const rows: BenchRow[] = [{ what: 'empty program', value: at('empty'), unit: 'ns' }];
  for (const family of Object.keys(FAMILIES) as Family[]) {
    const name = (kind: string, size: number): string => `${family} ${kind} ${size}`;
    for (const size of POLICY_SIZES) {
      const of = `${size} ${size === 1 ? 'entry' : 'entries'}`;
      const established = at(name('established', size));
      rows.push({ what: `${family} established, ${of}`, value: established, unit: 'ns', aim: '<= 60' });
      rows.push({ what: `${family} first packet, ${of}`, value: at(name('first', size)), unit: 'ns' });
      rows.push({ what: `${family} drop, ${of}`, value: at(name('drop', size)), unit: 'ns' });
    }
    rows.push({ what: `${family} to the node, with a policy`, value: at(`${family} node`), unit: 'ns' });
    const [few, many] = POLICY_SIZES;
    const ratio = at(name('established', many)) / at(name('established', few));
    rows.push({
      what: `${family} established, ${many} over ${few}`,
      value: ratio,
      unit: 'x',
      aim: '<= 1.05',
    });
  }
  report('Programs by BPF_PROG_TEST_RUN, net of an empty program (egress and ingress in one)', rows);
}

await main();
