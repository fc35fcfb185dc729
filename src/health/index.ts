export { createAgentNodes } from './agent-nodes.ts';
export { createPeerPaths, pathRoute } from './api/peer-paths.ts';
export type { HealthReader } from './api/routes.ts';
export { type Clock, systemClock } from './clock.ts';
export { loadDashboardAssets } from './dashboard/assets.ts';
export { Dashboard } from './dashboard/dashboard.ts';
export { createDashboardApp } from './dashboard/server.ts';
export { EngineProber } from './engine-prober.ts';
export { createHealth, type Health, type HealthDeps, type HealthOptions } from './health.ts';
export { ListedAddresses } from './listed-addresses.ts';
export { LossFinder, type LossFinderDeps } from './loss/loss-finder.ts';
export { askPeer, waypointRoute } from './loss/peer-question.ts';
export { createHttpTransport, rowRoutes } from './mesh/index.ts';
export { createHealthMetrics, type HealthMetrics } from './metrics.ts';
export { createMetricsApp } from './metrics-app.ts';
export { MtuWatch } from './mtu/watch.ts';
export type { NodeProvider, NodeView } from './node-view.ts';
export type { ProbeInterval } from './plan/interval.ts';
export { LOOPBACK, ProbeDevices } from './probe-devices.ts';
export { RequestProber } from './request-prober.ts';
export {
  closeAppServer,
  createAppServer,
  createHealthApp,
  createHealthReader,
  type HealthServerDeps,
  METRICS_REQUESTS_A_CONNECTION,
} from './server.ts';
export { createStaticNodes, parseNodeList, readNodeList } from './static-nodes.ts';
