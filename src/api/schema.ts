/**
 * The models of the REST contract: schemas (typebox, which is JSON Schema) and the types inferred from them, under the
 * names of Cilium's API, the union of its 2018 and 1.19 forms. Import types only where start-up time counts.
 */
export type { ModelOf } from './schema/build.ts';
export * from './schema/common.ts';
export * from './schema/config.ts';
export * from './schema/controller.ts';
export * from './schema/debuginfo.ts';
export * from './schema/endpoint.ts';
export * from './schema/fqdn.ts';
export * from './schema/health.ts';
export * from './schema/health-cluster.ts';
export * from './schema/health-paths.ts';
export * from './schema/identity.ts';
export * from './schema/network.ts';
export * from './schema/policy.ts';
export * from './schema/service.ts';
export * from './schema/status.ts';
export * from './schema/status-features.ts';
