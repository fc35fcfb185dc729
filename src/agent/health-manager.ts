import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ListenAddress } from '../base/option-parsers.ts';
import { DEFAULT_STATE_DIR, type NodePaths } from '../base/paths.ts';
import type { Sockets } from '../base/sockets/types.ts';
import type { HealthMetricsNames } from '../model/health-metrics-names.ts';
import { healthEndpointPorts } from '../model/health-ports.ts';
import { formatDuration } from '../view/duration.ts';
import type { HealthContext } from './agent-deps.ts';
import { HealthEndpoint } from './health-endpoint.ts';
import type { HealthPart, HealthStatus } from './health-part.ts';
import { type Inherited, type ProcessSettings, SurvivingProcess } from './surviving-process.ts';

export interface HealthManagerOptions {
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  /** Devices to other nodes: probes come in by them. */
  readonly devices: readonly string[];
  readonly paths: NodePaths;
  readonly intervalMs: number;
  /** Whether the ports that policy allows and denies are probed. */
  readonly policyPaths: boolean;
  /** Host order. */
  readonly port: number;
  readonly metricsAddress: ListenAddress | undefined;
  /** Names by which its metrics and dashboard may be asked, besides addresses and the node's name. */
  readonly allowedHosts: readonly string[];
  readonly metricsNames: HealthMetricsNames;
  /** Peers with series of their own, with the names of Cilium 1.16. */
  readonly metricsPeersMax: number;
  /** What its probes are marked with, and cost at most: a second, and percent of a core. */
  readonly probes: { readonly dscp: number; readonly packetsPerSecond: number; readonly cpuPercent: number };
  readonly dashboardAddress?: ListenAddress | undefined;
  /** Name of the health endpoint's namespace; default: `healthNetns`. */
  readonly netns?: string | undefined;
  /** Whether there is a datapath for a health endpoint; without it only the node itself is probed. */
  readonly withEndpoint: boolean;
  /** Program and first words of the health process. */
  readonly command: readonly string[];
}

export interface HealthManagerDeps extends HealthContext {
  readonly sockets: Sockets;
  readonly log: Logger;
}

/** By this name clients know that somebody probes. */
const CONTROLLER = 'cilium-health-ep';
const CHECK_INTERVAL_MS = 5_000;
/** One that does not answer is asked again after so long. */
const AGAIN_MS = 1_000;
const HELLO_MS = 2_000;
const BACKLOG = 128;
const MS = 1_000_000n;

/** Namespace of a node's health endpoint; several nodes of one machine differ by their state folders. */
export function healthNetns(stateDir: string): string {
  if (stateDir === DEFAULT_STATE_DIR) return 'ciliate-health';
  return `ciliate-health-${createHash('sha256').update(stateDir).digest('hex').slice(0, 8)}`;
}

/** The health process of a node, by its files. */
export function createHealthProcess(
  options: Pick<HealthManagerOptions, 'command' | 'paths'>,
  log: Logger,
  onExit: () => void,
): SurvivingProcess {
  return new SurvivingProcess(
    {
      name: 'health',
      command: options.command,
      startedFile: join(options.paths.pidDir, 'health.started.json'),
      outputFile: join(options.paths.logDir, 'health.out'),
    },
    log,
    onExit,
  );
}

/** Keeps the node's health endpoint and health process going. */
export class HealthManager implements HealthPart {
  readonly #options: HealthManagerOptions;
  readonly #deps: HealthManagerDeps;
  readonly #endpoint: HealthEndpoint | undefined;
  readonly #process: SurvivingProcess;
  #check: { trigger(): Promise<void> } | undefined;
  #status: HealthStatus = { state: 'Warning', message: 'starting' };
  /** Those that were told last. */
  #told: ReturnType<HealthPart['addresses']> = { ipv4: undefined, ipv6: undefined };

  constructor(options: HealthManagerOptions, deps: HealthManagerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#endpoint = options.withEndpoint
      ? new HealthEndpoint(options.netns ?? healthNetns(options.paths.stateDir), deps)
      : undefined;
    this.#process = createHealthProcess(options, deps.log, () => void this.#check?.trigger());
  }

  async start(): Promise<void> {
    this.#check = this.#deps.controllers.add({
      name: CONTROLLER,
      intervalMs: CHECK_INTERVAL_MS,
      run: () => this.#ensure(),
    });
    await this.#check.trigger();
  }

  async stop(): Promise<void> {
    this.#check = undefined;
    await this.#deps.controllers.remove(CONTROLLER);
  }

  status(): HealthStatus {
    return this.#status;
  }

  addresses(): ReturnType<HealthPart['addresses']> {
    const spec = this.#endpoint?.find()?.spec;
    return { ipv4: spec?.ipv4, ipv6: spec?.ipv6 };
  }

  async #ensure(): Promise<void> {
    try {
      await this.#ensureEndpoint();
      await this.#process.ensure(this.#settings());
      const answers = await saysHello(this.#options.paths.healthSocket);
      this.#status = answers
        ? { state: 'Ok', message: '' }
        : { state: 'Warning', message: 'the health process does not answer' };
      if (!answers) setTimeout(() => void this.#check?.trigger(), AGAIN_MS).unref();
    } catch (error) {
      this.#status = { state: 'Failure', message: errorText(error) };
      throw error;
    }
  }

  async #ensureEndpoint(): Promise<void> {
    if (this.#endpoint === undefined) return;
    const { spec } = await this.#endpoint.ensure();
    if (this.#told.ipv4 === spec.ipv4 && this.#told.ipv6 === spec.ipv6) return;
    this.#told = { ipv4: spec.ipv4, ipv6: spec.ipv6 };
    this.#deps.onAddresses();
  }

  #settings(): ProcessSettings {
    const { nodeName, nodeIps, devices, paths, intervalMs, port } = this.#options;
    const { metricsAddress, metricsNames, metricsPeersMax, dashboardAddress, policyPaths } = this.#options;
    const { allowedHosts } = this.#options;
    const { dscp, packetsPerSecond, cpuPercent } = this.#options.probes;
    const addressFlag = (flag: string, address: ListenAddress | undefined): string[] =>
      address === undefined ? [] : [flag, listenText(address)];
    return {
      args: [
        ...['--node-name', nodeName, '--state-dir', paths.stateDir, '--bpf-dir', paths.bpfDir],
        ...['--agent', `unix://${paths.agentSocket}`, '--port', String(port)],
        ...['--interval', formatDuration(BigInt(intervalMs) * MS)],
        ...nodeIps.flatMap((ip) => ['--source', ip]),
        ...devices.flatMap((name) => ['--device', name]),
        ...(policyPaths && this.#deps.isPolicyEnforced() ? [] : ['--no-policy-paths']),
        ...addressFlag('--metrics-addr', metricsAddress),
        ...allowedHosts.flatMap((name) => ['--allowed-host', name]),
        ...['--metrics-names', metricsNames, '--metrics-peers-max', String(metricsPeersMax)],
        ...['--dscp', String(dscp), '--packets-per-second', String(packetsPerSecond)],
        ...['--cpu-percent', String(cpuPercent)],
        ...addressFlag('--dashboard-addr', dashboardAddress),
      ],
      place: this.#endpoint?.netnsId ?? '',
      open: () => this.#inherited(),
    };
  }

  /** The health endpoint's namespace as it is now, and the listeners. */
  #inherited(): Inherited[] {
    const netns = this.#endpoint?.netnsPath;
    const inside =
      netns === undefined
        ? []
        : [
            {
              fd: openSync(netns, 'r'),
              words: (fd: number) => ['--endpoint-netns', `/proc/self/fd/${fd}`],
            },
          ];
    try {
      return [...inside, ...this.#openListeners(netns)];
    } catch (error) {
      for (const { fd } of inside) closeSync(fd);
      throw error;
    }
  }

  #openListeners(netns: string | undefined): Inherited[] {
    const { port, nodeIps } = this.#options;
    const { ipv4, ipv6 } = this.addresses();
    const inner = netns === undefined ? [] : [ipv4, ipv6].filter((ip) => ip !== undefined);
    const ports = Object.values(healthEndpointPorts(port));
    const wanted = [
      ...nodeIps.map((address) => ({ address, port, netns: undefined })),
      ...inner.flatMap((address) => ports.map((one) => ({ address, port: one, netns }))),
    ];
    return wanted.map(({ address, port: at, netns: place }) => ({
      fd: this.#deps.sockets.openSocket({
        family: address.includes(':') ? 6 : 4,
        type: 'stream',
        bind: { address, port: at },
        listen: BACKLOG,
        ...(place !== undefined && { netns: place, freebind: true }),
      }),
      words: (fd) => ['--listen-fd', String(fd)],
    }));
  }
}

function listenText({ host, port }: ListenAddress): string {
  return `${host?.includes(':') === true ? `[${host}]` : (host ?? '')}:${port}`;
}

/** Whether somebody answers on the socket: to a process that hangs the kernel still connects. */
function saysHello(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(HELLO_MS);
    const asked = request({ socketPath, path: '/v1beta/hello', agent: false, signal }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    asked.on('error', () => resolve(false));
    asked.end();
  });
}
