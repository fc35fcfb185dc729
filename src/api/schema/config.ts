import Type from 'typebox';
import { bool, int, type ModelOf, mapOf, model, oneOf, opt, str } from './build.ts';
import { NodeAddressing } from './common.ts';
import { ConfigurationMap } from './endpoint.ts';
import { DatapathMode, MonitorStatus } from './status.ts';

export const PolicyEnforcement = oneOf('default', 'always', 'never');
export type PolicyEnforcement = ModelOf<typeof PolicyEnforcement>;

export const DaemonConfigurationSpec = model('DaemonConfigurationSpec', {
  options: opt(ConfigurationMap),
  'policy-enforcement': opt(PolicyEnforcement),
});
export type DaemonConfigurationSpec = ModelOf<typeof DaemonConfigurationSpec>;

export const KVstoreConfiguration = model('KVstoreConfiguration', {
  type: opt(str),
  options: opt(mapOf(str)),
});
export type KVstoreConfiguration = ModelOf<typeof KVstoreConfiguration>;

export const DaemonConfigurationStatus = model('DaemonConfigurationStatus', {
  realized: opt(DaemonConfigurationSpec),
  immutable: opt(ConfigurationMap),
  addressing: opt(NodeAddressing),
  'k8s-endpoint': opt(str),
  'k8s-configuration': opt(str),
  nodeMonitor: opt(MonitorStatus),
  kvstoreConfiguration: opt(KVstoreConfiguration),
  deviceMTU: opt(int),
  routeMTU: opt(int),
  enableRouteMTUForCNIChaining: opt(bool),
  packetizationLayerPMTUDMode: opt(str),
  datapathMode: opt(DatapathMode),
  'ipam-mode': opt(str),
  masquerade: opt(bool),
  masqueradeProtocols: opt(model('ConfigMasqueradeProtocols', { ipv4: opt(bool), ipv6: opt(bool) })),
  installUplinkRoutesForDelegatedIPAM: opt(bool),
  daemonConfigurationMap: opt(mapOf(Type.Unknown())),
  GSOMaxSize: opt(int),
  GROMaxSize: opt(int),
  GSOIPv4MaxSize: opt(int),
  GROIPv4MaxSize: opt(int),
  deviceHeadroom: opt(int),
  deviceTailroom: opt(int),
  ipLocalReservedPorts: opt(str),
  enableBBRHostNamespaceOnly: opt(bool),
  /** Ours: where each value of `daemonConfigurationMap` came from: `flag --x`, `env X`, `file /p`, `default`. */
  configurationOrigins: opt(mapOf(str)),
});
export type DaemonConfigurationStatus = ModelOf<typeof DaemonConfigurationStatus>;

export const DaemonConfiguration = model('DaemonConfiguration', {
  spec: opt(DaemonConfigurationSpec),
  status: opt(DaemonConfigurationStatus),
});
export type DaemonConfiguration = ModelOf<typeof DaemonConfiguration>;
