import { UsageError } from '../base/errors.ts';
import {
  type ListenAddress,
  parseBoolean,
  parseInteger,
  parseListenAddress,
  parseNodeName,
  parseOneOf,
  parseOptional,
} from '../base/option-parsers.ts';
import { HEALTH_INTERVAL_LEAST_MS, HEALTH_INTERVAL_MOST_MS } from '../model/health-interval.ts';
import { HEALTH_METRICS_NAMES, type HealthMetricsNames } from '../model/health-metrics-names.ts';
import { HEALTH_PORT_MAX } from '../model/health-ports.ts';
import { formatMilliseconds, option, parseMilliseconds } from './option-values.ts';

/** The health agent would not start with another. */
function parseInterval(text: string): number {
  const ms = parseMilliseconds(text);
  if (ms >= HEALTH_INTERVAL_LEAST_MS && ms <= HEALTH_INTERVAL_MOST_MS) return ms;
  const [least, most] = [HEALTH_INTERVAL_LEAST_MS, HEALTH_INTERVAL_MOST_MS].map(formatMilliseconds);
  throw new UsageError(`${JSON.stringify(text)} is not a duration from ${least} to ${most}`, {
    code: 'OPTION_INVALID',
  });
}

/** Options of the agent for the health agent that it keeps. */
export const HEALTH_OPTIONS = {
  health: option({
    description: 'measure latency to every node and its health endpoint',
    parse: parseBoolean,
    fallback: true,
    placeholder: undefined,
  }),
  'health-interval': option({
    description: 'pause between two probes of an address; in clusters of thousands, of the watched ones',
    parse: parseInterval,
    fallback: 1000,
    format: formatMilliseconds,
    placeholder: 'DURATION',
  }),
  'health-policy-paths': option({
    description:
      'probe a port that policy allows and one that it denies; the denied probes count among the drops',
    parse: parseBoolean,
    fallback: true,
    placeholder: undefined,
  }),
  'health-port': option({
    description: "TCP port of the health agents' /hello; health endpoints have the two after it too",
    parse: parseInteger(1, HEALTH_PORT_MAX),
    fallback: 4240,
    placeholder: 'PORT',
  }),
  'health-netns': option({
    description:
      'name of the network namespace of the health endpoint, unique on this machine (default: ciliate-health)',
    parse: parseOptional(parseNodeName),
    fallback: undefined as string | undefined,
    placeholder: 'NAME',
  }),
  'health-metrics-address': option({
    description:
      "where the health agent's metrics are served; without an address at the node's own; empty for nowhere",
    parse: parseOptional(parseListenAddress),
    fallback: undefined as ListenAddress | undefined,
    placeholder: 'ADDRESS:PORT',
  }),
  'health-metrics-names': option({
    description:
      "names of the health agent's connectivity metrics: Cilium's since 1.17, or those of 1.12 to 1.16, by peer",
    parse: parseOneOf(...HEALTH_METRICS_NAMES),
    fallback: '1.17' as HealthMetricsNames,
    placeholder: HEALTH_METRICS_NAMES.join('|'),
  }),
  'health-dscp': option({
    description: 'DSCP of the probes of health; 0: best effort',
    parse: parseInteger(0, 63),
    fallback: 0,
    placeholder: 'NUMBER',
  }),
  'health-packets-per-second': option({
    description: 'ICMP and echo probes of health a second at most',
    parse: parseInteger(1, 10_000_000),
    fallback: 20_000,
    placeholder: 'NUMBER',
  }),
  'health-cpu-percent': option({
    description:
      'CPU that probes of health may take at most, percent of one core; what is due beyond it waits',
    parse: parseInteger(1, 100),
    fallback: 25,
    placeholder: 'NUMBER',
  }),
  'health-metrics-peers-max': option({
    description:
      'peers with connectivity metrics of their own, the first by name, with the names of 1.12 to 1.16',
    parse: parseInteger(0, 100_000),
    fallback: 100,
    placeholder: 'NUMBER',
  }),
  'health-dashboard-address': option({
    description:
      "where the health agent's dashboard is served; without an address at the node's own; may be that of its metrics; empty for nowhere",
    parse: parseOptional(parseListenAddress),
    fallback: undefined as ListenAddress | undefined,
    placeholder: 'ADDRESS:PORT',
  }),
} as const;
