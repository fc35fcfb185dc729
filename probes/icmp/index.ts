export { DEFAULT_PAYLOAD_BYTES, Outcome } from './constants.ts';
export { createIcmpProbe, type IcmpProbeOptions } from './icmp.ts';
export {
  errnoText,
  type IcmpMode,
  IcmpProber,
  type IcmpProberDeps,
  type IcmpProberOptions,
} from './icmp-prober.ts';
export type { OutcomeBatch, ProbeError } from './outcome-batch.ts';
