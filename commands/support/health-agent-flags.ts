import * as Flags from '@oclif/core/flags';
import type { ResponderListen } from '../../probes/responder/index.ts';
import { formatIp, parseIp } from '../../src/base/ip.ts';
import { LOG_LEVELS } from '../../src/base/log.ts';
import {
  type ListenAddress,
  parseHostName,
  parseInteger,
  parseListenAddress,
  parseNodeName,
} from '../../src/base/option-parsers.ts';
import type { ProbeInterval } from '../../src/health/index.ts';
import { HEALTH_INTERVAL_LEAST_MS, HEALTH_INTERVAL_MOST_MS } from '../../src/model/health-interval.ts';
import { HEALTH_METRICS_NAMES } from '../../src/model/health-metrics-names.ts';
import { HEALTH_PORT_MAX } from '../../src/model/health-ports.ts';
import { checked } from './checked.ts';
import { durationFlagFrom, parseDurationMs } from './duration-flag.ts';

const DEFAULT_PORT = 4240;

/** Without --interval; no default of the flag itself: help would have to load the command to write it. */
export const DEFAULT_INTERVAL: ProbeInterval = { kind: 'fixed', ms: 1000 };
export const DEFAULT_TIMEOUT_MS = 1000;
/** What the probe engine takes. */
const TIMEOUT_MOST_MS = 60_000;

function parseInterval(text: string): ProbeInterval {
  const ratio = /^auto(?::(0(?:\.\d+)?|1(?:\.0+)?))?$/.exec(text);
  if (ratio !== null) return { kind: 'ratio', ratio: Number(ratio[1] ?? '0.5') };
  return {
    kind: 'fixed',
    ms: parseDurationMs(text, {
      leastMs: HEALTH_INTERVAL_LEAST_MS,
      mostMs: HEALTH_INTERVAL_MOST_MS,
      bareUnit: undefined,
    }),
  };
}

const intervalFlag = Flags.custom<ProbeInterval>({ parse: checked(parseInterval) });
const durationFlag = durationFlagFrom({ leastMs: 1, mostMs: TIMEOUT_MOST_MS, bareUnit: undefined });
const addressFlag = Flags.custom<ListenAddress>({
  parse: checked(parseListenAddress),
});
const nameFlag = Flags.custom<string>({ parse: checked(parseNodeName) });
const ipFlag = Flags.custom<string>({ parse: checked((text) => formatIp(parseIp(text))) });
const hostFlag = Flags.custom<string>({ parse: checked(parseHostName) });
const numberFlag = (least: number, most: number) =>
  Flags.custom<number>({ parse: checked(parseInteger(least, most)) });

/** Flags of `ciliate health-agent`. */
export const healthAgentFlags = {
  agent: Flags.string({
    description: "the agent's API, whose node list is followed",
    helpValue: 'ADDRESS',
  }),
  nodes: Flags.string({ description: 'node list of JSON or YAML: no agent is needed', helpValue: 'FILE' }),
  'node-name': nameFlag({ description: 'name of this node', helpValue: 'NAME' }),
  interval: intervalFlag({
    description:
      "from one probe of an address to the next; `auto[:RATIO]`: grows with their number as Cilium's does (default: 1s)",
    helpValue: 'DURATION',
  }),
  timeout: durationFlag({
    description: 'how long an answer is waited for, 60s at most (default: 1s)',
    helpValue: 'DURATION',
  }),
  port: numberFlag(
    1,
    HEALTH_PORT_MAX,
  )({
    description: "port of the nodes' responders; health endpoints have the two after it too",
    default: DEFAULT_PORT,
  }),
  listen: addressFlag({
    description: 'answer probes of others here; may be repeated',
    helpValue: 'ADDRESS:PORT',
    multiple: true,
    multipleNonGreedy: true,
  }),
  'listen-fd': numberFlag(
    3,
    1023,
  )({
    description: 'answer probes of others on this listening descriptor; may be repeated',
    helpValue: 'FD',
    multiple: true,
    multipleNonGreedy: true,
  }),
  'metrics-addr': addressFlag({
    description:
      'serve /metrics here too, besides health.sock; without an address at the first --source, else on loopback',
    helpValue: 'ADDRESS:PORT',
  }),
  'allowed-host': hostFlag({
    description:
      "name by which metrics and dashboard may be asked, besides addresses, localhost and the node's name; may be repeated",
    helpValue: 'NAME',
    multiple: true,
    multipleNonGreedy: true,
  }),
  'metrics-names': Flags.option({
    description: "names of the connectivity metrics: Cilium's since 1.17, or those of 1.12 to 1.16, by peer",
    options: HEALTH_METRICS_NAMES,
    default: '1.17',
  })(),
  'metrics-peers-max': numberFlag(
    0,
    100_000,
  )({
    description: 'peers with metrics of their own, with the names of 1.16 (default: 100)',
    helpValue: 'NUMBER',
  }),
  'dashboard-addr': addressFlag({
    description:
      'serve the dashboard here too, besides health.sock, and keep an hour of each path for it; without an address as --metrics-addr, which may be the same',
    helpValue: 'ADDRESS:PORT',
  }),
  source: ipFlag({
    description: 'address that probes leave from, one a family',
    multiple: true,
    multipleNonGreedy: true,
  }),
  'endpoint-netns': Flags.string({
    description: "network namespace of this node's health endpoint: probe from there too",
    helpValue: 'FILE',
  }),
  'policy-paths': Flags.boolean({
    description:
      'from there, probe a port that the policy of health endpoints allows, and one that it denies',
    default: true,
    allowNo: true,
  }),
  'icmp-mode': Flags.option({
    description: 'who times ICMP probes: programs on the devices, raw or datagram sockets',
    options: ['auto', 'bpf', 'raw', 'datagram'] as const,
    default: 'auto',
  })(),
  device: Flags.string({
    description:
      'device that probes of others come in by, besides those that routes to the nodes lead to; may be repeated',
    helpValue: 'NAME',
    multiple: true,
    multipleNonGreedy: true,
  }),
  dscp: numberFlag(0, 63)({ description: 'DSCP of probes', default: 0 }),
  'packets-per-second': numberFlag(
    1,
    10_000_000,
  )({ description: 'ICMP and echo probes a second at most (default: 20,000)', helpValue: 'NUMBER' }),
  'cpu-percent': numberFlag(
    1,
    100,
  )({
    description: 'CPU that these may take at most, percent of one core; what is due beyond it waits',
    default: 25,
  }),
  'log-level': Flags.option({
    description: 'least level that is logged',
    options: LOG_LEVELS,
    default: 'info',
  })(),
  'log-file': Flags.string({ description: 'JSON lines; default: log/health.log in the state folder' }),
  'log-stdout': Flags.boolean({ description: 'log to the standard output too', allowNo: true }),
};

/** Where probes of others are answered: handed-over descriptors first, then addresses; no host means both families. */
export function responderListens(
  fds: readonly number[],
  addresses: readonly ListenAddress[],
): ResponderListen[] {
  return [
    ...fds.map((fd) => ({ kind: 'fd', fd }) as const),
    ...addresses.flatMap(({ host, port }) =>
      (host === undefined ? ['0.0.0.0', '::'] : [host]).map(
        (one) => ({ kind: 'address', host: one, port }) as const,
      ),
    ),
  ];
}
