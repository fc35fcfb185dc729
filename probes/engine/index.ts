import { NativeProbeEngine } from './engine.ts';
import type { EngineOptions, ProbeEngine } from './types.ts';

export type {
  EngineEvent,
  EngineMode,
  EngineOptions,
  EngineOrigin,
  EnginePath,
  EngineSelf,
  PathCounts,
  ProbeEngine,
} from './types.ts';
export { bucketEdgeNs, HISTOGRAM_BUCKETS } from './types.ts';

/**
 * The best mode that works here, or the one that is asked for.
 * @throws SystemError when the addon cannot be had, UsageError for an option out of range
 */
export function createProbeEngine(options: EngineOptions): ProbeEngine {
  const { mode = 'auto' } = options;
  if (mode !== 'auto') return new NativeProbeEngine(options, mode);
  const raw = new NativeProbeEngine(options, 'raw');
  if (raw.readiness(4, 'icmp').ready || raw.readiness(6, 'icmp').ready) return raw;
  void raw.stop();
  return new NativeProbeEngine(options, 'datagram');
}
