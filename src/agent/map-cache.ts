import type * as Api from '../api/schema.ts';
import { type MapStateKey, type MapStateVerdict, Protocol } from '../model/map-state.ts';
import type { Endpoint } from './endpoint.ts';
import type { Ipcache } from './ipcache.ts';

export interface MapCacheDeps {
  readonly endpoints: readonly Endpoint[];
  readonly ipcache: Ipcache;
}

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map<number, string>(
  Object.entries(Protocol).map(([name, number]) => [number, name.toUpperCase()]),
);

/** `Ingress: 1234 80/TCP`; a range of ports as `Ingress: 1234 80/TCP mask 12`. */
function policyKey({ direction, identity, protocol, port, portPrefixLength }: MapStateKey): string {
  const name = PROTOCOL_NAMES.get(protocol) ?? String(protocol);
  const peer = `${direction === 'ingress' ? 'Ingress' : 'Egress'}: ${identity}`;
  if (portPrefixLength === 0) return `${peer} ${name}`;
  return `${peer} ${port}/${name}${portPrefixLength === 16 ? '' : ` mask ${portPrefixLength}`}`;
}

function verdictText(verdict: MapStateVerdict): string {
  return verdict.kind === 'redirect' ? `redirect to ${verdict.proxyPort}` : verdict.kind;
}

function policyEntries(endpoint: Endpoint | undefined): readonly Api.BPFMapEntry[] | undefined {
  const held = endpoint?.kernelState;
  if (held === undefined) return undefined;
  return [...held.values()].map(({ key, entry }) => ({
    key: policyKey(key),
    value: verdictText(entry.verdict),
  }));
}

function ipcacheEntries(ipcache: Ipcache): readonly Api.BPFMapEntry[] {
  return ipcache.list().map(({ cidr, identity, hostIp }) => ({
    key: cidr,
    value: `identity=${identity} encryptkey=0 tunnelendpoint=${hostIp ?? '0.0.0.0'} flags=<none>`,
  }));
}

/** What the agent believes a map to hold; undefined for maps of which it keeps no copy (conntrack, counters). */
export function mapCache(name: string, deps: MapCacheDeps): readonly Api.BPFMapEntry[] | undefined {
  if (/_ipcache_v\d+$/.test(name)) return ipcacheEntries(deps.ipcache);
  const id = Number(/_policy_v\d+_(\d+)$/.exec(name)?.[1]);
  return Number.isNaN(id) ? undefined : policyEntries(deps.endpoints.find((endpoint) => endpoint.id === id));
}
