import type * as Api from '../../src/api/schema.ts';
import { formatIp, parseIp } from '../../src/base/ip.ts';
import type { TraceL4 } from '../../src/policy/index.ts';

const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };
/** How many backends a note names. */
const SHOWN = 3;

function isAt(frontend: Api.FrontendAddress | undefined, address: string, l4: TraceL4): boolean {
  if (frontend?.ip === undefined || frontend.ip === '' || formatIp(parseIp(frontend.ip)) !== address)
    return false;
  if (l4.kind === 'any') return true;
  return (
    l4.kind === 'port' && frontend.port === l4.port && (frontend.protocol ?? 'TCP') === PROTOCOLS[l4.protocol]
  );
}

function backendWords({ ip, port, protocol = 'TCP' }: Api.BackendAddress): string {
  return `--dst-ip ${ip} --dport ${port}/${protocol.toLowerCase()}`;
}

/**
 * What to trace instead of an address at which services are reached: a packet to it is one to a backend before any rule
 * judges it.
 * @param ip as the user gave it
 */
export function serviceNotes(services: readonly Api.Service[], ip: string, l4: TraceL4): readonly string[] {
  if (ip.includes('/')) return [];
  const address = formatIp(parseIp(ip));
  return services.flatMap(({ spec, status }) => {
    const frontend = spec?.['frontend-address'];
    if (!isAt(frontend, address, l4)) return [];
    const { name = '', namespace = '' } = spec?.flags ?? {};
    const title = [namespace, name].filter((part) => part !== '').join('/');
    const service = `port ${frontend?.port}/${frontend?.protocol ?? 'TCP'} is the service ${title === '' ? spec?.id : title}`;
    const backends = status?.realized?.['backend-addresses'] ?? [];
    const instead = backends.slice(0, SHOWN).map(backendWords).join(', or ');
    const what = backends.length === 0 ? 'it has none and refuses' : `trace ${instead}`;
    return [`${address} ${service}, and rules judge what is sent to it by its backends: ${what}`];
  });
}
