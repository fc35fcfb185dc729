export type { BugtoolAgent, BugtoolHealth } from './api-collectors.ts';
export { type BugtoolOptions, packBugtool, sourceOf } from './bugtool.ts';
export { type Output, openOutputFile, standardOutput } from './output-file.ts';
export { type PlanOptions, planCollectors } from './plan.ts';
export type { Collector, CollectorReport, Manifest, OutcomeKind } from './types.ts';
