import type { Logger } from '../../base/log.ts';
import { Datagrams } from '../../base/sockets/datagrams.ts';
import { type DnsCounters, newDnsCounters } from '../../model/proxy-counters.ts';
import type { ProxyHost, ProxyPart } from '../proxy.ts';
import { DNS_LIMITS, type DnsLimits } from './limits.ts';
import { Observations } from './observations.ts';
import { QueryDesk } from './query-desk.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { UdpProxy } from './udp-proxy.ts';

export interface DnsPartOptions {
  /** SO_MARK of what goes to servers. */
  readonly mark: number;
  readonly limits?: Partial<DnsLimits> | undefined;
}

/** The DNS proxy of a node: judges queries, and tells the agent what names lead to before clients know. */
export interface DnsPart extends ProxyPart {
  readonly counters: Readonly<DnsCounters>;
  /** Open sockets to servers, connections, queries that wait. */
  usage(): { readonly udpFlows: number; readonly tcpConnections: number; readonly inFlight: number };
}

const REPORT_EVERY_MS = 10_000;
/** What should not happen, and is not in the access log. */
const TROUBLE = [
  'oversizedQueries',
  'limitedQueries',
  'foreignAnswers',
  'wrongQuestions',
  'malformedAnswers',
  'unapplied',
] as const satisfies readonly (keyof DnsCounters)[];

/** @returns what writes a line to the log when trouble was counted since the last time */
function reportTrouble(counters: Readonly<DnsCounters>, log: Logger): () => void {
  let last = { ...counters };
  return () => {
    const grown = TROUBLE.filter((name) => counters[name] > last[name]);
    last = { ...counters };
    if (grown.length === 0) return;
    log.warn(Object.fromEntries(grown.map((name) => [name, counters[name]])), 'DNS: counted since the start');
  };
}

/** Serves listeners named `dns-...`, which belong to it from then on. @throws SystemError when the addon is missing */
export function createDnsPart(options: DnsPartOptions, host: ProxyHost): DnsPart {
  const limits = { ...DNS_LIMITS, ...options.limits };
  const counters = newDnsCounters();
  const { clock, dial, log } = host;
  const observations = new Observations(limits.applyTimeoutMs, {
    send: host.send,
    onUnapplied: () => counters.unapplied++,
  });
  const desk = new QueryDesk({
    policy: () => host.policy.table,
    flowOf: host.flowOf,
    clock,
    log: host.record,
    observations,
    counters,
    limits,
  });
  const shared = { desk, clock, limits, counters };
  const datagrams = (handlers: ConstructorParameters<typeof Datagrams>[0]) => new Datagrams(handlers);
  const udp = new UdpProxy(options.mark, { ...shared, datagrams });
  const tcp = new TcpProxy({ ...shared, dial, log });
  const watching = setInterval(reportTrouble(counters, log), REPORT_EVERY_MS).unref();
  return {
    kind: 'dns',
    async listen({ fd, transport, name }) {
      const family = transport.endsWith('4') ? 4 : 6;
      if (transport.startsWith('udp')) udp.listen(fd, family);
      else if (transport.startsWith('reply')) udp.answerThrough(fd, family);
      else await tcp.listen(fd, name);
    },
    onMessage(message) {
      if (message.type === 'dns-applied') observations.applied(message.id);
    },
    counters,
    usage: () => ({ udpFlows: udp.flows, tcpConnections: tcp.connections, inFlight: desk.inFlight }),
    async stop() {
      clearInterval(watching);
      udp.close();
      await tcp.close();
      observations.agentGone();
    },
  };
}
