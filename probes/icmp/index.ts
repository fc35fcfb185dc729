export { DEFAULT_PAYLOAD_BYTES, Outcome } from './constants.ts';
export { createIcmpProbe, failureOf, type IcmpProbeOptions } from './icmp.ts';
export {
  errnoText,
  type IcmpMode,
  IcmpProber,
  type IcmpProberDeps,
  type IcmpProberOptions,
} from './icmp-prober.ts';
export type { OutcomeBatch, ProbeError } from './outcome-batch.ts';
export {
  type PingLine,
  type PingOptions,
  type PingReport,
  PingSession,
  type PingTarget,
} from './ping-session.ts';
