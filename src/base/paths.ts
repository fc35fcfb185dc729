import { join } from 'node:path';

export const DEFAULT_STATE_DIR = '/var/run/ciliate';
export const DEFAULT_BPF_DIR = '/sys/fs/bpf/ciliate';

/** Where one node keeps its things. Both folders take a prefix, so that many agents share one kernel. */
export interface NodePaths {
  /** Sockets, endpoint directories, pid files, logs. */
  readonly stateDir: string;
  /** Pinned maps (`maps/`) and links (`links/`), on a bpffs. */
  readonly bpfDir: string;
  /** REST, base path /v1. */
  readonly agentSocket: string;
  /** NDJSON stream of monitor events, one JSON object a line. */
  readonly eventsSocket: string;
  /** Health REST, base path /v1beta. */
  readonly healthSocket: string;
  /** What agent and proxy say to each other (`src/model/proxy-protocol.ts`); the proxy listens. */
  readonly proxySocket: string;
  /** One directory an endpoint, named by its id: `state.json`. */
  readonly endpointsDir: string;
  /** agent.pid, health.pid. */
  readonly pidDir: string;
  /** agent.log, health.log: JSON lines. */
  readonly logDir: string;
}

export function nodePaths(stateDir: string = DEFAULT_STATE_DIR, bpfDir: string = DEFAULT_BPF_DIR): NodePaths {
  return {
    stateDir,
    bpfDir,
    agentSocket: join(stateDir, 'ciliate.sock'),
    eventsSocket: join(stateDir, 'events.sock'),
    healthSocket: join(stateDir, 'health.sock'),
    proxySocket: join(stateDir, 'proxy.sock'),
    endpointsDir: join(stateDir, 'endpoints'),
    pidDir: join(stateDir, 'pid'),
    logDir: join(stateDir, 'log'),
  };
}
