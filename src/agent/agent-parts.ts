import { dropReasonText } from '../model/constants.gen.ts';
import type { AgentEvent } from '../model/event.ts';
import type { AgentDeps } from './agent-deps.ts';
import { ClusterSync } from './cluster-sync.ts';
import { Controllers } from './controllers.ts';
import { EndpointDirectory } from './endpoint-directory.ts';
import { EndpointManager } from './endpoint-manager.ts';
import type { HealthPart } from './health-part.ts';
import { Ipam } from './ipam.ts';
import { Ipcache } from './ipcache.ts';
import { AgentMetrics } from './metrics.ts';
import { Operations } from './operations.ts';
import { ownIps, ownNode } from './own-node.ts';
import { PolicyActivity } from './policy-activity.ts';
import { PolicyManager } from './policy-manager.ts';
import type { ProxyPart } from './proxy-part.ts';
import type { StatusDeps } from './status.ts';

/** What the parts ask of the agent that they are parts of. */
export interface AgentState {
  readonly now: () => Date;
  readonly started: () => boolean;
  /** What a restart could not bring back. */
  readonly problems: () => readonly string[];
  /** Events that the ring had no room for. */
  readonly ringLost: () => number;
}

const RING = { pages: 64, pageBytes: 4096 } as const;
/** Options that `config` shows as changeable, as Cilium names them. */
const MUTABLE = {
  DropNotification: 'Enabled',
  PolicyVerdictNotification: 'Enabled',
  TraceNotification: 'Enabled',
};

/** The parts of an agent and how they call each other. Building them does nothing yet. */
export class AgentParts {
  readonly #deps: AgentDeps;
  readonly #state: AgentState;
  readonly controllers: Controllers;
  readonly policy: PolicyManager;
  readonly activity: PolicyActivity;
  readonly ipam: Ipam;
  readonly ipcache: Ipcache;
  readonly cluster: ClusterSync;
  readonly directory: EndpointDirectory;
  readonly manager: EndpointManager;
  readonly health: HealthPart;
  readonly proxy: ProxyPart;
  readonly metrics: AgentMetrics;
  readonly operations: Operations;

  constructor(deps: AgentDeps, state: AgentState) {
    this.#deps = deps;
    this.#state = state;
    this.controllers = new Controllers(deps.log);
    this.policy = this.#createPolicy();
    this.activity = new PolicyActivity(state.now);
    this.ipam = new Ipam({ ipv4Range: deps.options['ipv4-range'], ipv6Range: deps.options['ipv6-range'] });
    this.ipcache = this.#createIpcache();
    this.cluster = this.#createCluster();
    this.directory = new EndpointDirectory(deps.paths.endpointsDir);
    this.manager = this.#createManager();
    this.health = deps.health({
      manager: this.manager,
      ipam: this.ipam,
      controllers: this.controllers,
      onAddresses: () => void this.cluster.publishNode(),
    });
    this.proxy = this.#createProxy();
    this.metrics = this.#createMetrics();
    this.operations = this.#createOperations();
  }

  /** What `status` is made of. */
  statusDeps(): StatusDeps {
    const { version, node, datapath, store, events } = this.#deps;
    return {
      version,
      devices: node.devices,
      datapath,
      store,
      ipam: this.ipam,
      controllers: this.controllers,
      manager: this.manager,
      policy: this.policy,
      cluster: this.cluster,
      health: this.health,
      proxy: this.proxy,
      monitor: () => ({ ...RING, lost: this.#state.ringLost() + events.lost() }),
      problems: this.#state.problems,
      started: this.#state.started,
    };
  }

  readonly #emit = (event: AgentEvent): void => this.#deps.events.publish([event]);

  #createPolicy(): PolicyManager {
    const { options, paths, log } = this.#deps;
    return new PolicyManager(
      {
        stateDir: paths.stateDir,
        clusterName: options['cluster-name'],
        mode: options['enable-policy'],
        allowLocalhost: options['allow-localhost'],
      },
      {
        log,
        emit: this.#emit,
        now: this.#state.now,
        onChange: (touched, reason) => this.manager.onPolicyChange(touched, reason),
      },
    );
  }

  #createIpcache(): Ipcache {
    const { options, datapath, log } = this.#deps;
    const onDirty = (): void => void this.cluster.syncIpcache();
    return new Ipcache(options['node-name'], { datapath, emit: this.#emit, log, onDirty });
  }

  #createCluster(): ClusterSync {
    const { options, node, store, network, log } = this.#deps;
    return new ClusterSync(() => ownNode(options, node, this.health), {
      store,
      network,
      log,
      ipcache: this.ipcache,
      policy: this.policy,
      controllers: this.controllers,
      ownIps: () => ownIps(this.manager.list(), options['node-name'], node),
      clusterCidrs: options['cluster-cidrs'],
    });
  }

  #createManager(): EndpointManager {
    const { datapath, network, store, log, node } = this.#deps;
    return new EndpointManager({
      datapath,
      devices: node.devices,
      holderOf: (ip) => this.cluster.holderOf(ip),
      network,
      store,
      log,
      emit: this.#emit,
      policy: this.policy,
      ipam: this.ipam,
      ipcache: this.ipcache,
      directory: this.directory,
      now: this.#state.now,
      publish: () => this.cluster.publishIps(),
      syncIpcache: () => this.cluster.syncIpcache(),
      onRegenerated: (durationMs, failed) => this.metrics.regenerated(durationMs, failed),
    });
  }

  #createProxy(): ProxyPart {
    const { proxy, events } = this.#deps;
    return proxy({
      controllers: this.controllers,
      now: this.#state.now,
      onRecords: (records) => events.publish(records),
      onLost: (count) => events.publish([{ kind: 'lost', source: 'proxy', count }]),
      onObservation: (id) => this.proxy.dnsApplied(id),
    });
  }

  #createMetrics(): AgentMetrics {
    const { version, datapath, store, events } = this.#deps;
    return new AgentMetrics({
      version,
      datapath,
      manager: this.manager,
      policy: this.policy,
      ipam: this.ipam,
      controllers: this.controllers,
      identityCount: async () => (await store.listIdentities()).length,
      nodeCount: () => this.cluster.nodes().length,
      reasonText: (reason) => dropReasonText[reason] ?? `${reason}`,
      eventsLost: () => ({ ring: this.#state.ringLost(), listener: events.lost() }),
    });
  }

  #createOperations(): Operations {
    const { options, origins, storeSpec } = this.#deps;
    return new Operations({
      ...this.statusDeps(),
      ipcache: this.ipcache,
      activity: this.activity,
      config: { options, origins, storeSpec, mutable: MUTABLE },
      metricsText: () => this.metrics.text(),
    });
  }
}
