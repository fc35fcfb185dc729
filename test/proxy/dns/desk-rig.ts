import { openSync } from 'node:fs';
import * as dnsPacket from 'dns-packet';
import { parseIp } from '../../../src/base/ip.ts';
import type { DatagramFlow, DatagramHandlers } from '../../../src/base/sockets/datagrams.ts';
import { parseDnsPattern } from '../../../src/model/dns-pattern.ts';
import type { AccessLogRecord, L7Filter, L7SubjectPolicy } from '../../../src/model/l7.ts';
import { newDnsCounters } from '../../../src/model/proxy-counters.ts';
import type { ProxyToAgent } from '../../../src/model/proxy-protocol.ts';
import { DNS_LIMITS, type DnsLimits } from '../../../src/proxy/dns/limits.ts';
import { Observations } from '../../../src/proxy/dns/observations.ts';
import { QueryDesk } from '../../../src/proxy/dns/query-desk.ts';
import { UdpProxy } from '../../../src/proxy/dns/udp-proxy.ts';
import { PolicyTable } from '../../../src/proxy/policy-table.ts';
import type { FlowIdentities } from '../../../src/proxy/types.ts';

export const CLIENT = '10.0.0.7';
export const SERVER = '198.51.100.53';
export const ENDPOINT = { endpoint: 7, identity: 300, addresses: [CLIENT, '10.0.0.8'] } as const;
export const SERVER_IDENTITY = 9;

/** A filter of UDP and TCP port 53 for everybody; `patterns` undefined: no L7 rules. */
export function dnsFilter(
  ruleName: string,
  patterns: readonly string[] | undefined,
  part: Partial<L7Filter> = {},
): L7Filter {
  return {
    protocol: 0,
    firstPort: 53,
    lastPort: 53,
    peers: undefined,
    l7: patterns && { kind: 'dns', rules: patterns.map(parseDnsPattern) },
    ruleId: 1,
    ruleName,
    ...part,
  };
}

export function tableOf(
  egress: readonly L7Filter[] | undefined,
  others: readonly L7SubjectPolicy[] = [],
): PolicyTable {
  const subjects = [{ subject: ENDPOINT.identity, ingress: undefined, egress }, ...others];
  return new PolicyTable({ revision: 1, subjects }, [ENDPOINT]);
}

/** Sockets in memory: what went where, and a way to be the network. */
export class FakeDatagrams {
  readonly sent: { readonly tag: number; readonly bytes: Uint8Array }[] = [];
  readonly replies: { readonly flow: DatagramFlow; readonly bytes: Uint8Array }[] = [];
  readonly open = new Map<number, DatagramFlow>();
  readonly handlers: DatagramHandlers;
  sendResult = 0;
  connectResult = 0;
  #lastTag = 100;

  constructor(handlers: DatagramHandlers) {
    this.handlers = handlers;
  }
  listen(): void {
    // Nothing is read: the tests call the handlers.
  }
  connect(flow: DatagramFlow): number {
    if (this.connectResult < 0) return this.connectResult;
    this.open.set(++this.#lastTag, flow);
    return this.#lastTag;
  }
  send(tag: number, bytes: Uint8Array): number {
    this.sent.push({ tag, bytes: Uint8Array.from(bytes) });
    return this.sendResult;
  }
  reply(_fd: number, flow: DatagramFlow, bytes: Uint8Array): number {
    this.replies.push({ flow, bytes: Uint8Array.from(bytes) });
    return 0;
  }
  remove(tag: number): void {
    this.open.delete(tag);
  }
  close(): void {
    this.open.clear();
  }
}

export interface RigOptions {
  readonly table?: PolicyTable;
  readonly limits?: Partial<DnsLimits>;
  readonly agent?: boolean;
  readonly identities?: FlowIdentities | undefined;
}

/** A desk with a clock that stands still unless `state.nowNs` is moved, and what it said. */
export function deskRig({
  table = tableOf([dnsFilter('r', ['*.x.io'])]),
  limits,
  agent = true,
  ...rest
}: RigOptions = {}) {
  const identities =
    'identities' in rest ? rest.identities : { client: ENDPOINT.identity, server: SERVER_IDENTITY };
  const counters = newDnsCounters();
  const log: AccessLogRecord[] = [];
  const toAgent: ProxyToAgent[] = [];
  const allLimits = { ...DNS_LIMITS, ...limits };
  const state: { nowNs: number; table: PolicyTable | undefined; agent: boolean } = { nowNs: 0, table, agent };
  const observations = new Observations(allLimits.applyTimeoutMs, {
    send: (message) => state.agent && toAgent.push(message) > 0,
    onUnapplied: () => counters.unapplied++,
  });
  const clock = {
    monotonicNs: () => state.nowNs,
    realtimeMs: () => Date.UTC(2026, 0, 1) + state.nowNs / 1e6,
  };
  const desk = new QueryDesk({
    policy: () => state.table,
    flowOf: () => identities,
    clock,
    log: (record) => log.push(record),
    observations,
    counters,
    limits: allLimits,
  });
  return { desk, clock, limits: allLimits, counters, log, toAgent, observations, state };
}

/** A UDP proxy on sockets in memory. */
export function udpRig(options: RigOptions = {}) {
  const rig = deskRig(options);
  let sockets: FakeDatagrams | undefined;
  const proxy = new UdpProxy(0xa00, {
    ...rig,
    datagrams: (handlers) => {
      sockets = new FakeDatagrams(handlers);
      return sockets;
    },
  });
  if (sockets === undefined) throw new Error('the proxy made no sockets');
  for (const family of [4, 6] as const) proxy.answerThrough(openSync('/dev/null', 'r'), family);
  return { ...rig, proxy, sockets };
}

export function flow(clientPort = 40_000, client = CLIENT, server = SERVER): DatagramFlow {
  return {
    family: client.includes(':') ? 6 : 4,
    client: parseIp(client),
    clientPort,
    server: parseIp(server),
    serverPort: 53,
  };
}

export function query(name: string, id = 1, type: dnsPacket.RecordType = 'A'): Buffer {
  return dnsPacket.encode({
    type: 'query',
    id,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
  });
}

export function answerTo(
  bytes: Uint8Array,
  answers: readonly dnsPacket.Answer[],
  changes: Partial<dnsPacket.Packet> = {},
): Buffer {
  const { id, questions } = dnsPacket.decode(Buffer.from(bytes));
  return dnsPacket.encode({
    type: 'response',
    id: id ?? 0,
    questions: questions ?? [],
    answers: [...answers],
    ...changes,
  });
}

export const a = (name: string, data: string, ttl = 60): dnsPacket.Answer => ({ type: 'A', name, data, ttl });
export const cname = (name: string, data: string, ttl = 60): dnsPacket.Answer => ({
  type: 'CNAME',
  name,
  data,
  ttl,
});

export function decoded(
  bytes: Uint8Array | undefined,
): dnsPacket.DecodedPacket & { readonly rcode?: string } {
  if (bytes === undefined) throw new Error('there is no message');
  return dnsPacket.decode(Buffer.from(bytes));
}
