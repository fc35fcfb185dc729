import type { Origin } from '../base/config.ts';
import { errorText } from '../base/errors.ts';
import { type Cidr, formatCidr, parseIp } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import type { Datapath, DatapathNode } from '../datapath/types.ts';
import { dropReasonText } from '../model/constants.gen.ts';
import type { AgentEvent, MonitorEvent } from '../model/event.ts';
import type { NumericIdentity } from '../model/identity.ts';
import type { ClusterNode } from '../model/node.ts';
import type { IpIdentity, Store } from '../store/types.ts';
import { type ApiServer, createApiServer } from './api/index.ts';
import { ClusterSync } from './cluster-sync.ts';
import { Controllers } from './controllers.ts';
import { EndpointDirectory } from './endpoint-directory.ts';
import { addressesOf, EndpointManager } from './endpoint-manager.ts';
import { AgentEventType, agentEvent } from './events.ts';
import type { HealthPart } from './health-part.ts';
import { Ipam } from './ipam.ts';
import { Ipcache } from './ipcache.ts';
import { AgentMetrics } from './metrics.ts';
import type { NetworkSetup } from './network-setup.ts';
import type { NodeFacts } from './node-facts.ts';
import { Operations } from './operations.ts';
import type { AgentOptions } from './options.ts';
import { PolicyManager } from './policy-manager.ts';
import { type RestoreReport, restoreEndpoints } from './restore.ts';
import { openStateFolder } from './state-folder.ts';
import { briefStatus, type StatusDeps } from './status.ts';
import { TextServer } from './text-server.ts';

/** Where monitor events go: the events socket of `monitor`. */
export interface EventSink {
  start(): Promise<void>;
  stop(): Promise<void>;
  publish(events: readonly MonitorEvent[]): void;
  /** Events that a listener was too slow for, since the start. */
  lost(): number;
}

/** What the health part needs of the agent. */
export interface HealthContext {
  readonly manager: EndpointManager;
  readonly ipam: Ipam;
  readonly controllers: Controllers;
  /** The health endpoint's addresses are known or changed: the node is to be published anew. */
  readonly onAddresses: () => void;
}

export interface AgentDeps {
  readonly options: AgentOptions;
  /** Where each option came from; undefined when the agent was made as an object. */
  readonly origins?: Readonly<Record<string, Origin>> | undefined;
  readonly paths: NodePaths;
  readonly node: NodeFacts;
  readonly version: string;
  readonly storeSpec: string;
  readonly store: Store;
  readonly datapath: Datapath;
  readonly network: NetworkSetup;
  readonly events: EventSink;
  readonly health: (context: HealthContext) => HealthPart;
  readonly log: Logger;
  readonly now?: (() => Date) | undefined;
}

const RING = { pages: 64, pageBytes: 4096 } as const;
const GARBAGE_INTERVAL_MS = 30_000;
const CONFIRM_IDENTITIES_MS = 15_000;

/**
 * The agent of one node. `start` resolves when it serves: endpoints of an earlier agent are found again by then, and
 * their regeneration is under way while the pinned datapath goes on enforcing.
 */
export class Agent {
  readonly #deps: AgentDeps;
  readonly #now: () => Date;
  readonly #controllers: Controllers;
  readonly #policy: PolicyManager;
  readonly #ipam: Ipam;
  readonly #ipcache: Ipcache;
  readonly #cluster: ClusterSync;
  readonly #directory: EndpointDirectory;
  readonly #manager: EndpointManager;
  readonly #health: HealthPart;
  readonly #metrics: AgentMetrics;
  readonly #api: ApiServer;
  readonly #servers: readonly TextServer[];
  #restore: RestoreReport = { restored: 0, cleaned: 0, corrupt: [], problems: [] };
  #ringLost = 0;
  #started = false;
  #unlock: (() => void) | undefined;
  #stopping: Promise<void> | undefined;

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? ((): Date => new Date());
    const { options, log, datapath, network, store } = deps;
    const emit = (event: AgentEvent): void => deps.events.publish([event]);
    this.#controllers = new Controllers(log);
    this.#policy = new PolicyManager(
      {
        stateDir: deps.paths.stateDir,
        clusterName: options['cluster-name'],
        mode: options['enable-policy'],
        allowLocalhost: options['allow-localhost'],
      },
      { log, emit, now: this.#now, onChange: (touched, reason) => this.#onPolicyChange(touched, reason) },
    );
    this.#ipam = new Ipam({ ipv4Range: options['ipv4-range'], ipv6Range: options['ipv6-range'] });
    this.#ipcache = new Ipcache(options['node-name'], {
      datapath,
      emit,
      log,
      onDirty: () => void this.#cluster.syncIpcache(),
    });
    this.#cluster = new ClusterSync(() => this.#self(), {
      store,
      ipcache: this.#ipcache,
      policy: this.#policy,
      network,
      controllers: this.#controllers,
      log,
      ownIps: () => this.#ownIps(),
    });
    this.#directory = new EndpointDirectory(deps.paths.endpointsDir);
    this.#manager = new EndpointManager({
      datapath,
      network,
      store,
      emit,
      log,
      policy: this.#policy,
      ipam: this.#ipam,
      ipcache: this.#ipcache,
      directory: this.#directory,
      now: this.#now,
      publish: () => this.#cluster.publishIps(),
      syncIpcache: () => this.#cluster.syncIpcache(),
      onRegenerated: (durationMs, failed) => this.#metrics.regenerated(durationMs, failed),
    });
    this.#health = deps.health({
      manager: this.#manager,
      ipam: this.#ipam,
      controllers: this.#controllers,
      onAddresses: () => void this.#cluster.publishNode(),
    });
    this.#metrics = this.#createMetrics();
    const operations = new Operations({
      ...this.#statusDeps(),
      ipcache: this.#ipcache,
      config: {
        options,
        origins: deps.origins,
        storeSpec: deps.storeSpec,
        mutable: {
          DropNotification: 'Enabled',
          PolicyVerdictNotification: 'Enabled',
          TraceNotification: 'Enabled',
        },
      },
      metricsText: () => this.#metrics.text(),
    });
    this.#api = createApiServer(
      { socketPath: deps.paths.agentSocket },
      {
        operations,
        onCall: (record) => this.#metrics.apiCall(record),
        onError: (error, operation) => log.error({ operation, error: errorText(error) }, 'API call failed'),
      },
    );
    this.#servers = this.#createServers();
  }

  /** For tests and for whoever runs the agent as an object. */
  get manager(): EndpointManager {
    return this.#manager;
  }

  get policy(): PolicyManager {
    return this.#policy;
  }

  get ipam(): Ipam {
    return this.#ipam;
  }

  /** @throws CiliateError of the part that could not start; everything is released again then */
  async start(): Promise<void> {
    const { log } = this.#deps;
    this.#unlock = openStateFolder(this.#deps.paths);
    try {
      await this.#startParts();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#started = true;
    this.#deps.events.publish([agentEvent(AgentEventType.started, { time: this.#now().toISOString() })]);
    const { restored, cleaned, corrupt } = this.#restore;
    log.info(
      { restored, cleaned, corrupt: corrupt.length, revision: this.#policy.revision },
      'agent started',
    );
    void this.#health
      .start()
      .catch((error: unknown) => log.warn({ error: errorText(error) }, 'health failed'));
  }

  /** Stops serving. The pinned datapath, the health process and all state stay. May be called twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #startParts(): Promise<void> {
    const { datapath, events, network, log } = this.#deps;
    this.#policy.load();
    await events.start();
    datapath.onEvents((batch) => this.#onDatapathEvents(batch));
    const { endpoints: adopted, adopted: takenOver } = await datapath.start(this.#datapathNode());
    log.info({ adopted: adopted.length, takenOver, kind: datapath.kind }, 'datapath started');
    await network.prepareNode();
    await this.#ipcache.adopt();
    await this.#cluster.start();
    this.#restore = await restoreEndpoints(adopted, {
      directory: this.#directory,
      datapath,
      network,
      store: this.#deps.store,
      manager: this.#manager,
      log,
      now: this.#now,
    });
    this.#cluster.ownEndpointsKnown();
    for (const endpoint of this.#manager.list()) void this.#manager.regenerate(endpoint, 'agent restart');
    await this.#cluster.syncIpcache();
    void this.#cluster.publishIps();
    void this.#cluster.publishNode();
    this.#addControllers();
    for (const server of this.#servers) await server.start();
    await this.#api.start();
  }

  async #stop(): Promise<void> {
    this.#started = false;
    await this.#api.stop();
    for (const server of this.#servers) await server.stop();
    await this.#health.stop();
    await this.#manager.stop();
    this.#cluster.stop();
    await this.#controllers.stop();
    this.#ipam.stop();
    await this.#deps.datapath.stop();
    await this.#deps.store.stop();
    await this.#deps.events.stop();
    this.#unlock?.();
    this.#unlock = undefined;
    this.#deps.log.info({}, 'agent stopped, the datapath goes on enforcing');
  }

  #addControllers(): void {
    const { datapath } = this.#deps;
    const add = (name: string, intervalMs: number, run: () => Promise<void>): void => {
      void this.#controllers.add({ name, intervalMs, run }).trigger();
    };
    if (datapath.kind === 'bpf') {
      add(
        'conntrack-garbage-collection',
        GARBAGE_INTERVAL_MS,
        async () => void (await datapath.collectGarbage()),
      );
    }
    add('confirm-identities', CONFIRM_IDENTITIES_MS, async () => {
      const unsure = this.#manager
        .list()
        .filter((endpoint) => endpoint.state === 'ready' && endpoint.needsIdentity);
      for (const endpoint of unsure) void this.#manager.regenerate(endpoint, 'identity to be confirmed');
    });
  }

  #onPolicyChange(touched: ReadonlySet<NumericIdentity>, reason: string): void {
    this.#manager.onPolicyChange(touched, reason);
  }

  #onDatapathEvents(batch: readonly MonitorEvent[]): void {
    for (const event of batch)
      if (event.kind === 'lost' && event.source === 'ring') this.#ringLost += event.count;
    this.#deps.events.publish(batch);
  }

  #self(): ClusterNode {
    const { options, node } = this.#deps;
    const range = (cidr: Cidr | undefined): string | undefined => cidr && formatCidr(cidr);
    const health = this.#health.addresses();
    return {
      name: options['node-name'],
      ipv4: node.ipv4,
      ipv6: node.ipv6,
      ipv4AllocRange: range(options['ipv4-range']),
      ipv6AllocRange: range(options['ipv6-range']),
      ipv4HealthIp: health.ipv4,
      ipv6HealthIp: health.ipv6,
    };
  }

  #ownIps(): readonly IpIdentity[] {
    const { options, node } = this.#deps;
    const hostIp = node.ipv4 ?? node.ipv6 ?? '';
    return this.#manager.list().flatMap(({ spec, identity, isEnding }) => {
      if (identity === undefined || isEnding) return [];
      const owner =
        spec.k8sPodName === undefined ? undefined : `${spec.k8sNamespace ?? ''}/${spec.k8sPodName}`;
      return addressesOf(spec).map((ip) => ({
        cidr: `${ip}/${parseIp(ip).length * 8}`,
        identity: identity.id,
        node: options['node-name'],
        hostIp,
        ...(owner !== undefined && { owner }),
      }));
    });
  }

  #datapathNode(): DatapathNode {
    const { options, node } = this.#deps;
    const own = [options['ipv4-range'], options['ipv6-range']].filter((range) => range !== undefined);
    const router = (family: 4 | 6): Uint8Array | undefined => {
      const ip = this.#ipam.routerIp(family);
      return ip === undefined ? undefined : parseIp(ip);
    };
    return {
      addresses: [node.ipv4, node.ipv6].filter((ip) => ip !== undefined).map(parseIp),
      podCidrs: options['cluster-cidrs'].length > 0 ? options['cluster-cidrs'] : own,
      devices: node.devices,
      routerIpv4: router(4),
      routerIpv6: router(6),
    };
  }

  #statusDeps(): StatusDeps {
    const { version, node, datapath, store, events } = this.#deps;
    return {
      version,
      devices: node.devices,
      datapath,
      store,
      ipam: this.#ipam,
      controllers: this.#controllers,
      manager: this.#manager,
      policy: this.#policy,
      cluster: this.#cluster,
      health: this.#health,
      monitor: () => ({ ...RING, lost: this.#ringLost + events.lost() }),
      problems: () => [
        ...this.#restore.corrupt.map(
          ({ id, aside }) => `endpoint ${id}: state file was corrupt, set aside as ${aside}`,
        ),
        ...this.#restore.problems,
      ],
      started: () => this.#started,
    };
  }

  #createMetrics(): AgentMetrics {
    const { version, datapath, store, events } = this.#deps;
    return new AgentMetrics({
      version,
      datapath,
      manager: this.#manager,
      policy: this.#policy,
      ipam: this.#ipam,
      controllers: this.#controllers,
      identityCount: async () => (await store.listIdentities()).length,
      nodeCount: () => this.#cluster.nodes().length,
      reasonText: (reason) => dropReasonText[reason] ?? `${reason}`,
      eventsLost: () => ({ ring: this.#ringLost, listener: events.lost() }),
    });
  }

  #createServers(): TextServer[] {
    const { options } = this.#deps;
    const servers: TextServer[] = [];
    const [metrics, liveness] = [options['metrics-address'], options['liveness-address']];
    if (metrics !== undefined) {
      const contentType = 'text/plain; version=0.0.4; charset=utf-8';
      const answer = async () => ({ status: 200, contentType, body: await this.#metrics.text() });
      servers.push(new TextServer(metrics, '/metrics', answer));
    }
    if (liveness !== undefined) {
      servers.push(
        new TextServer(liveness, '/healthz', async () => {
          const status = briefStatus(this.#statusDeps());
          const ok = status.cilium?.state !== 'Failure';
          return {
            status: ok ? 200 : 500,
            contentType: 'application/json',
            body: `${JSON.stringify(status)}\n`,
          };
        }),
      );
    }
    return servers;
  }
}
