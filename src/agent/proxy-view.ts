import type * as Api from '../api/schema.ts';
import { type L7Kind, PAIR_KINDS, type ProxyPorts } from '../model/l7.ts';
import { type MapStateKey, Protocol } from '../model/map-state.ts';
import type { Endpoint } from './endpoint.ts';
import { PROXY_PORT_RANGE } from './proxy-listeners.ts';
import type { ProxyPart } from './proxy-part.ts';

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Protocol).map(([name, number]) => [number, name.toUpperCase()]),
);

const L7_KINDS: readonly L7Kind[] = ['http', 'kafka', 'dns', 'tls', ...PAIR_KINDS];

/** Which parser listens at a port; undefined when none does. */
export function parserAt(ports: ProxyPorts, port: number): L7Kind | undefined {
  const found = Object.entries(ports).find(([, own]) => own === port && own !== 0);
  const name = found?.[0].split('-')[0];
  return L7_KINDS.find((kind) => kind === name);
}

/** `7415:ingress:TCP:80`, with the prefix's length where it is a range of ports. */
function redirectName(
  endpoint: number,
  { direction, protocol, port, portPrefixLength }: MapStateKey,
): string {
  const range = portPrefixLength === 16 ? '' : `/${portPrefixLength}`;
  return `${endpoint}:${direction}:${PROTOCOL_NAMES.get(protocol) ?? protocol}:${port}${range}`;
}

/** The redirects in force, each once whatever the number of its peers. */
export function redirectsOf(endpoints: readonly Endpoint[], ports: ProxyPorts): readonly Api.ProxyRedirect[] {
  const redirects = new Map<string, Api.ProxyRedirect>();
  for (const endpoint of endpoints) {
    for (const { key, entry } of endpoint.realized?.policy.mapState.values() ?? []) {
      if (entry.verdict.kind !== 'redirect') continue;
      const { proxyPort } = entry.verdict;
      const name = redirectName(endpoint.id, key);
      redirects.set(`${name} ${proxyPort}`, {
        name,
        proxy: parserAt(ports, proxyPort) ?? 'none',
        'proxy-port': proxyPort,
      });
    }
  }
  return [...redirects.values()];
}

/** `proxy` of the status; nothing before a rule needs it. */
export function proxyView(
  proxy: ProxyPart,
  endpoints: readonly Endpoint[],
): Pick<Api.StatusResponse, 'proxy'> {
  const { state, message } = proxy.status();
  if (state === 'Off') return {};
  const redirects = redirectsOf(endpoints, proxy.ports);
  const { first, last } = PROXY_PORT_RANGE;
  return {
    proxy: {
      ip: '127.0.0.1',
      'port-range': `${first}-${last}`,
      'total-redirects': redirects.length,
      'total-ports': Object.values(proxy.ports).filter((port) => port !== 0).length,
      redirects: [...redirects],
      state,
      msg: message,
    },
  };
}
