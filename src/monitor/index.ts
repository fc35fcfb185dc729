export { MonitorHub, type MonitorHubOptions, type MonitorStats } from './hub.ts';
