import type { HealthProbeReport } from '../../api/schema.ts';
import type { ProbeRun } from '../probe-run.ts';
import { pathNames } from './answers.ts';
import type { ProbeOrder } from './requests.ts';

/** What came of probes on demand. */
export function probeAnswer(node: string | undefined, order: ProbeOrder, run: ProbeRun): HealthProbeReport {
  const reached = new Set(run.results.map(({ path }) => path.peer));
  return {
    ...(node === undefined ? {} : { node }),
    count: order.count,
    complete: run.complete,
    'took-ms': Math.round(run.tookMs),
    paths: run.results.map(({ path, sent, answered, lost, pending, rttNs, reason }) => ({
      ...pathNames(path),
      sent,
      answered,
      lost,
      pending,
      ...(rttNs === undefined
        ? {}
        : {
            'rtt-ns': { min: Math.round(rttNs.min), p50: Math.round(rttNs.p50), max: Math.round(rttNs.max) },
          }),
      ...(reason === undefined ? {} : { reason }),
    })),
    'without-path': order.nodes.filter((name) => !reached.has(name)),
  };
}
