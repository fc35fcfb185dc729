import { randomInt } from 'node:crypto';
import { UsageError } from '../../src/base/errors.ts';
import { type IpFamily, ipFamily, parseIp } from '../../src/base/ip.ts';
import {
  BURST_MAX,
  DEFAULT_BURST,
  DEFAULT_BURST_SPACING_MS,
  DEFAULT_CPU_PERCENT,
  DEFAULT_FLOWS,
  DEFAULT_PACKETS_PER_SECOND,
  DEFAULT_PATHS_MAX,
  DEFAULT_RECEIVE_BUFFER_BYTES,
  DEFAULT_SOFT_TIMEOUT_MS,
  DEFAULT_TIMEOUT_MS,
  DEFAULT_TURN_MS,
  FLOWS_MAX,
  Option,
  ORIGINS_MAX,
  PACKET_BYTES_MAX,
} from './constants.ts';
import type { EngineOptions, EngineOrigin, EnginePath } from './types.ts';

/** Least bytes of IP: headers, and the cookie of 32 bytes. */
const LEAST_BYTES: Readonly<Record<IpFamily, number>> = { 4: 60, 6: 80 };

/** For the BPF addon; undefined: ours. */
export function netnsPath(origin: EngineOrigin | undefined): string | undefined {
  return origin?.netnsFd === undefined ? undefined : `/proc/self/fd/${origin.netnsFd}`;
}

/** @throws UsageError */
export function checkOptions({
  origins,
  flows = 0,
  burst = 0,
  dscp = 0,
  cpuPercent = DEFAULT_CPU_PERCENT,
}: EngineOptions): void {
  if (origins.length === 0 || origins.length > ORIGINS_MAX) {
    throw new UsageError(`an engine has 1 to ${ORIGINS_MAX} origins, not ${origins.length}`);
  }
  if (flows < 0 || flows > FLOWS_MAX) throw new UsageError(`flows: ${flows} is not 0..${FLOWS_MAX}`);
  if (burst < 0 || burst > BURST_MAX) throw new UsageError(`burst: ${burst} is not 0..${BURST_MAX}`);
  if (dscp < 0 || dscp > 63) throw new UsageError(`dscp: ${dscp} is not 0..63`);
  if (!(cpuPercent >= 1 && cpuPercent <= 100))
    throw new UsageError(`cpuPercent: ${cpuPercent} is not 1..100`);
}

/** @param origins how many there are. @throws UsageError */
export function checkPath(path: EnginePath, family: IpFamily, origins: number): void {
  if (path.origin < 0 || path.origin >= origins) throw new UsageError(`origin ${path.origin} does not exist`);
  const bytes = path.packetBytes;
  if (bytes !== undefined && (bytes < LEAST_BYTES[family] || bytes > PACKET_BYTES_MAX)) {
    throw new UsageError(`packetBytes: ${bytes} is not ${LEAST_BYTES[family]}..${PACKET_BYTES_MAX}`);
  }
}

/** Address that probes of a family leave from; empty: as the kernel chooses. */
export function sourceOf(origin: EngineOrigin, family: IpFamily): Uint8Array {
  const found = (origin.sources ?? [])
    .map((text) => parseIp(text))
    .find((bytes) => ipFamily(bytes) === family);
  return found ?? new Uint8Array(0);
}

/** What the addon's `create` wants. @param batchesFd of the programs' map; -1: none */
export function nativeOptions(options: EngineOptions, prober: number, batchesFd: number): Int32Array {
  const values = new Int32Array(Option.count);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  values[Option.prober] = prober;
  values[Option.icmpId] = randomInt(1, 0x10000);
  values[Option.pathsMax] = options.pathsMax ?? DEFAULT_PATHS_MAX;
  values[Option.timeoutMs] = timeoutMs;
  values[Option.turnMs] = options.turnMs ?? DEFAULT_TURN_MS;
  values[Option.packetsPerSecond] = options.packetsPerSecond ?? DEFAULT_PACKETS_PER_SECOND;
  values[Option.burst] = options.burst ?? DEFAULT_BURST;
  values[Option.burstSpacingMs] = options.burstSpacingMs ?? DEFAULT_BURST_SPACING_MS;
  values[Option.softTimeoutMs] = Math.min(timeoutMs, options.softTimeoutMs ?? DEFAULT_SOFT_TIMEOUT_MS);
  values[Option.flows] = options.flows ?? DEFAULT_FLOWS;
  values[Option.dscp] = options.dscp ?? 0;
  values[Option.receiveBuffer] = DEFAULT_RECEIVE_BUFFER_BYTES;
  values[Option.batchesFd] = batchesFd;
  values[Option.firstSequence] = options.firstSequence ?? 1;
  values[Option.cpuPercent] = options.cpuPercent ?? DEFAULT_CPU_PERCENT;
  return values;
}
