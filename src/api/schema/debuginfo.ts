import { list, type ModelOf, mapOf, model, opt, str } from './build.ts';
import { Endpoint } from './endpoint.ts';
import { Policy } from './policy.ts';
import { Service } from './service.ts';
import { StatusResponse } from './status.ts';
import { WireguardStatus } from './status-features.ts';

/** `version` asks for this only to read `cilium-version`: it must stay cheap. */
export const DebugInfo = model('DebugInfo', {
  'cilium-version': opt(str),
  'kernel-version': opt(str),
  'cilium-status': opt(StatusResponse),
  'endpoint-list': opt(list(Endpoint)),
  'service-list': opt(list(Service)),
  policy: opt(Policy),
  'cilium-memory-map': opt(str),
  'cilium-nodemonitor-memory-map': opt(str),
  'environment-variables': opt(list(str)),
  subsystem: opt(mapOf(str)),
  encryption: opt(model('DebugInfoEncryption', { wireguard: opt(WireguardStatus) })),
});
export type DebugInfo = ModelOf<typeof DebugInfo>;
