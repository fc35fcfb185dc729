export type { SendToAgent } from './access-log.ts';
export { createDnsPart, type DnsPart, type DnsPartOptions } from './dns/index.ts';
export { DEFAULT_LIMITS, type HttpLimits } from './http/limits.ts';
export { PolicyHolder, TrackedFlow } from './policy-holder.ts';
export { type DirectionView, type Flow, PolicyTable } from './policy-table.ts';
export {
  createProxy,
  type L7Proxy,
  type ProxyDeps,
  type ProxyHost,
  type ProxyOptions,
  type ProxyPart,
  systemClock,
} from './proxy.ts';
export type { ByteSocket, Clock, Dial, FlowEnd, FlowIdentities, FlowOf, LogSink } from './types.ts';
