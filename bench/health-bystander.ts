/**
 * What the programs of health cost a packet that is no probe, which is nearly every packet of a device: nanoseconds by
 * BPF_PROG_TEST_RUN, net of an empty program in the same rounds. The least of the rounds counts, since whatever disturbs
 * only adds.
 */
import { loadBpf } from '../bpf/addon/index.ts';
import { buildAsset } from '../src/base/assets.ts';
import { packet, TcpFlag, tcp, udp } from '../test/support/packets.ts';
import { whyNoBpf } from '../test/support/privilege.ts';
import { interleave, report } from './support/measure.ts';

const REPEAT = 300_000;
const ROUNDS = 7;
const PAYLOAD = Buffer.alloc(64);
const FAMILIES = {
  IPv4: { source: '10.0.0.1', destination: '10.0.0.2' },
  IPv6: { source: 'fd00::1', destination: 'fd00::2' },
} as const;

async function main(): Promise<void> {
  const missing = whyNoBpf();
  if (missing !== undefined) {
    console.log(`skipped: ${missing}`);
    return;
  }
  const health = loadBpf().openObject(buildAsset('health.bpf.o')).load();
  const shipped = loadBpf().openObject(buildAsset('ciliate.bpf.o')).load();
  const programs = {
    'into the device': health.program('probe_ingress'),
    'out of it': health.program('probe_egress'),
  };
  const empty = shipped.program('empty');
  const packets = Object.entries(FAMILIES).flatMap(([family, way]) => [
    [`TCP, ${family}`, packet({ ...way, payload: tcp(4000, 80, TcpFlag.ack, PAYLOAD) })] as const,
    [`UDP, ${family}`, packet({ ...way, payload: udp(4000, 53, PAYLOAD) })] as const,
  ]);
  const cases = packets.flatMap(([what, data]) =>
    Object.entries(programs).map(([where, program]) => ({ what: `${what}, ${where}`, program, data })),
  );
  const figures = await interleave(
    cases.flatMap(({ what, program, data }) => [
      { name: what, run: () => program.testRun({ data, repeat: REPEAT }).durationNs },
      { name: `empty: ${what}`, run: () => empty.testRun({ data, repeat: REPEAT }).durationNs },
    ]),
    ROUNDS,
  );
  const least = (name: string): number => Math.min(...(figures.get(name) ?? []));
  report(
    `A packet that is no probe, least of ${ROUNDS} runs of ${REPEAT}, net of an empty program`,
    cases.map(({ what }) => ({ what, value: least(what) - least(`empty: ${what}`), unit: 'ns' })),
  );
  health.close();
  shipped.close();
}

await main();
