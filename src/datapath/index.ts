export { type BpfDatapathOptions, createBpfDatapath } from './bpf-datapath.ts';
export type { ConntrackFlow, FlowEnd } from './conntrack-table.ts';
export { PolicyWriteError, UnknownEndpointError } from './errors.ts';
export {
  type FlowAddress,
  type FlowLookup,
  type JudgedEnd,
  type JudgedFlow,
  openFlowLookup,
} from './flow-lookup.ts';
export {
  type BackendRow,
  type EndpointRow,
  type MapReader,
  openMapReader,
  type PolicyRow,
  type ServiceSlotRow,
} from './map-reader.ts';
export { createNoDatapath } from './no-datapath.ts';
export type { ConntrackLifetimes } from './programs.ts';
export type * from './types.ts';
export { WaypointTable } from './waypoint-table.ts';
