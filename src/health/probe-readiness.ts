import type { ProbeReadiness } from '../../probes/types.ts';
import type { IpFamily } from '../base/ip.ts';
import { probeKindIndex } from '../model/health.ts';
import type { PathProber } from './prober.ts';

/** Whether any prober can probe paths of a kind, or why none does. @param kind name in `PROBE_KINDS` */
export function probeReadiness(
  probers: readonly PathProber[],
  kind: string,
  family: IpFamily,
): ProbeReadiness {
  const path = { kind: probeKindIndex(kind), family };
  const answers = probers.map((prober) => prober.readiness(path));
  const reasons = answers.filter((ready) => !ready.ready).map(({ reason }) => reason);
  return (
    answers.find(({ ready }) => ready) ?? {
      ready: false,
      reason: reasons.find((reason) => !reason.startsWith('not probed by')) ?? 'nothing probes it',
    }
  );
}
