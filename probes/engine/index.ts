import { randomInt } from 'node:crypto';
import { errorText } from '../../src/base/errors.ts';
import { DEFAULT_ECHOES_PER_SECOND, DEFAULT_PATHS_MAX, DEFAULT_TCP_PORT } from './constants.ts';
import { type EngineParts, NativeProbeEngine, NoRecordsError } from './engine.ts';
import { checkOptions, netnsPath } from './options.ts';
import { ProbePrograms } from './programs.ts';
import type { EngineOptions, ProbeEngine } from './types.ts';

export { DEFAULT_CPU_PERCENT, DEFAULT_PACKETS_PER_SECOND } from './constants.ts';
export { Routes } from './routes.ts';
export type {
  EngineDevice,
  EngineEvent,
  EngineMode,
  EngineOptions,
  EngineOrigin,
  EnginePath,
  EngineSelf,
  LiveCounts,
  PathCounts,
  ProbeEngine,
} from './types.ts';
export {
  bucketEdgeNs,
  bucketOf,
  copyCounts,
  EngineFullError,
  HISTOGRAM_BUCKETS,
  NO_ANSWERS,
  noCounts,
} from './types.ts';

/** Loads the programs and puts them on all devices; half of it is taken back. */
function loadPrograms(options: EngineOptions, prober: number): ProbePrograms {
  const programs = new ProbePrograms({
    pathsMax: options.pathsMax ?? DEFAULT_PATHS_MAX,
    prober,
    echoesPerSecond: options.echoesPerSecond ?? DEFAULT_ECHOES_PER_SECOND,
    tcpPort: options.tcpPort ?? DEFAULT_TCP_PORT,
  });
  try {
    for (const [i, origin] of options.origins.entries())
      for (const ifindex of origin.devices ?? []) programs.attach(i, ifindex, netnsPath(origin));
    return programs;
  } catch (error) {
    programs.close();
    throw error;
  }
}

/** In `auto`, what does not work is left out and said; a mode that is asked for must work. */
function choosePrograms(options: EngineOptions, prober: number): EngineParts['programs'] {
  const { mode = 'auto', origins } = options;
  if (mode === 'raw' || mode === 'datagram') return { reason: `mode ${mode} was asked for` };
  if (!origins.some(({ devices = [] }) => devices.length > 0)) return { reason: 'no device was named' };
  if (mode === 'bpf') return loadPrograms(options, prober);
  try {
    return loadPrograms(options, prober);
  } catch (error) {
    return { reason: errorText(error) };
  }
}

/** With programs if they get their records, else without; in mode `bpf` they must. */
function makeNative(options: EngineOptions, parts: EngineParts): NativeProbeEngine {
  const { programs } = parts;
  try {
    return new NativeProbeEngine(options, parts);
  } catch (error) {
    if (programs instanceof ProbePrograms) programs.close();
    if (!(error instanceof NoRecordsError) || options.mode === 'bpf') throw error;
    return new NativeProbeEngine(options, { ...parts, programs: { reason: errorText(error) } });
  }
}

/** Why no socket works. */
function socketsReason(engine: NativeProbeEngine): string {
  const ready = engine.readiness(4, 'icmp');
  return ready.ready ? '' : `no sockets for them: ${ready.reason}`;
}

/**
 * The best mode that works here, or the one that is asked for.
 * @throws SystemError when the addon cannot be had, UsageError for an option out of range, BpfError in mode `bpf`
 */
export function createProbeEngine(options: EngineOptions): ProbeEngine {
  checkOptions(options);
  const prober = randomInt(1, 2 ** 31);
  const programs = choosePrograms(options, prober);
  if (options.mode === 'datagram')
    return new NativeProbeEngine(options, { socketMode: 'datagram', programs, prober });
  const raw = makeNative(options, { socketMode: 'raw', programs, prober });
  const works = raw.readiness(4, 'icmp').ready || raw.readiness(6, 'icmp').ready;
  if (works || (options.mode !== undefined && options.mode !== 'auto')) return raw;
  // It takes its programs along.
  void raw.stop();
  const without = programs instanceof ProbePrograms ? { reason: socketsReason(raw) } : programs;
  return new NativeProbeEngine(options, { socketMode: 'datagram', programs: without, prober });
}
