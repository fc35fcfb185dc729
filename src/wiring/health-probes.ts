import { openSync } from 'node:fs';
import { createProbeEngine, type EngineMode, type ProbeEngine } from '../../probes/engine/index.ts';
import { createHttpProbe, HEALTH_PORT } from '../../probes/http/index.ts';
import type { Handshakes, Probe } from '../../probes/types.ts';
import { SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { LOOPBACK, RequestProber, systemClock } from '../health/index.ts';
import { healthEndpointPorts } from '../model/health-ports.ts';

/** How and from where the health agent probes. */
export interface HealthProbeOptions {
  readonly timeoutMs?: number | undefined;
  /** Host order, of the peers' responders. */
  readonly port?: number | undefined;
  readonly icmpMode?: 'auto' | EngineMode | undefined;
  /** 0..63; 0 by default. */
  readonly dscp?: number | undefined;
  /** At most. */
  readonly packetsPerSecond?: number | undefined;
  /** CPU of the engine's thread at most, percent of one core. */
  readonly cpuPercent?: number | undefined;
  /** Addresses that probes leave from, at most one a family. */
  readonly sources?: readonly string[] | undefined;
  /** Path of the network namespace of this node's health endpoint: probes start there too. */
  readonly endpointNetns?: string | undefined;
  /** Whether it has a policy whose allowed and denied ports are probed. Default: yes. */
  readonly policyPaths?: boolean | undefined;
}

/** Programs are tried on the loopback; the devices come with the nodes. */
export function makeEngine(
  options: HealthProbeOptions & { readonly log: Logger },
  endpointFd: number | undefined,
): ProbeEngine {
  const { timeoutMs, port, icmpMode, sources, dscp, packetsPerSecond, cpuPercent, log } = options;
  const endpoint = endpointFd === undefined ? [] : [{ netnsFd: endpointFd }];
  return createProbeEngine({
    origins: [{ sources, devices: [LOOPBACK] }, ...endpoint],
    mode: icmpMode,
    timeoutMs,
    tcpPort: port,
    dscp,
    packetsPerSecond,
    cpuPercent,
    onNoRecords: (reason) => log.warn({ reason }, 'no memory for more paths of probe programs'),
  });
}

/**
 * Probes by requests: from the host, and from the health endpoint, at the ports that its policy allows and denies.
 * @param handshakes of the host's devices; the endpoint's has no programs
 */
export function makeRequests(options: HealthProbeOptions, handshakes: Handshakes): RequestProber {
  const { timeoutMs, port = HEALTH_PORT, sources, endpointNetns, policyPaths = true, dscp } = options;
  const host = createHttpProbe({ timeoutMs, port, sources, dscp, handshakes });
  const deps = { responder: 'http', clock: systemClock, random: Math.random } as const;
  if (endpointNetns === undefined) return new RequestProber({ ...deps, probes: { host } });
  const { hello, allowed, denied } = healthEndpointPorts(port);
  const inside = (at: number): Probe => createHttpProbe({ timeoutMs, port: at, netns: endpointNetns, dscp });
  const probes = { host, endpoint: inside(hello) };
  const classes = { 'policy-allowed': inside(allowed), 'policy-denied': inside(denied) };
  return new RequestProber({ ...deps, probes, ...(policyPaths && { classes }) });
}

/** Opens the namespace of the health endpoint. @throws SystemError code ENDPOINT_NETNS */
export function openNetns(path: string | undefined): number | undefined {
  if (path === undefined) return undefined;
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new SystemError(`cannot open ${path}, the network namespace of the health endpoint`, {
      code: 'ENDPOINT_NETNS',
      cause,
    });
  }
}
