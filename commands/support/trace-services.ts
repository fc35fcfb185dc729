import type * as Api from '../../src/api/schema.ts';
import { formatIp, parseIp } from '../../src/base/ip.ts';
import { isUnspecified } from '../../src/model/service.ts';
import type { TraceL4 } from '../../src/policy/index.ts';

const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };
/** How many backends a note names. */
const SHOWN = 3;

/** Where a packet goes, as the user and the agent say. */
export interface TracedAddress {
  /** As the user gave it. */
  readonly ip: string;
  /** It is this node's or another's, at which node ports are reached. */
  readonly isNode: boolean;
  readonly l4: TraceL4;
}

function isAt(frontend: Api.FrontendAddress | undefined, { ip, isNode, l4 }: TracedAddress): boolean {
  if (frontend?.ip === undefined || frontend.ip === '') return false;
  const [address, wanted] = [parseIp(frontend.ip), parseIp(ip)];
  const isPort =
    l4.kind === 'port' &&
    frontend.port === l4.port &&
    (frontend.protocol ?? 'TCP') === PROTOCOLS[l4.protocol];
  if (isUnspecified(address)) return isNode && isPort && address.length === wanted.length;
  return formatIp(address) === formatIp(wanted) && (isPort || l4.kind === 'any');
}

function backendWords({ ip, port, protocol = 'TCP' }: Api.BackendAddress): string {
  return `--dst-ip ${ip} --dport ${port}/${protocol.toLowerCase()}`;
}

/**
 * What to trace instead of an address at which services are reached: a packet to it is one to a backend before any rule
 * judges it.
 */
export function serviceNotes(services: readonly Api.Service[], traced: TracedAddress): readonly string[] {
  if (traced.ip.includes('/')) return [];
  return services.flatMap(({ spec, status }) => {
    const frontend = spec?.['frontend-address'];
    if (!isAt(frontend, traced)) return [];
    const { name = '', namespace = '' } = spec?.flags ?? {};
    const title = [namespace, name].filter((part) => part !== '').join('/');
    const service = `port ${frontend?.port}/${frontend?.protocol ?? 'TCP'} is the service ${title === '' ? spec?.id : title}`;
    const backends = status?.realized?.['backend-addresses'] ?? [];
    const instead = backends.slice(0, SHOWN).map(backendWords).join(', or ');
    const what = backends.length === 0 ? 'it has none and refuses' : `trace ${instead}`;
    return [`${traced.ip} ${service}, and rules judge what is sent to it by its backends: ${what}`];
  });
}
