import { join } from 'node:path';
import type { AgentOperations } from '../api/operations.ts';
import { errorText } from '../base/errors.ts';
import { type Cidr, parseCidr } from '../base/ip.ts';
import { dropReasonText } from '../model/constants.gen.ts';
import type { AgentEvent } from '../model/event.ts';
import type { AccessLogRecord } from '../model/l7.ts';
import { makeLabel } from '../model/labels.ts';
import { NO_PROXY_COUNTERS, type ProxyCounters } from '../model/proxy-counters.ts';
import type { AgentDeps } from './agent-deps.ts';
import { ClusterSync } from './cluster-sync.ts';
import { Controllers } from './controllers.ts';
import { hostCidr } from './endpoint-addresses.ts';
import { EndpointDirectory } from './endpoint-directory.ts';
import { EndpointManager } from './endpoint-manager.ts';
import { connectionsOf } from './fqdn-connections.ts';
import { FqdnManager } from './fqdn-manager.ts';
import type { HealthPart } from './health-part.ts';
import { healthRules } from './health-policy.ts';
import { HostPolicyPart } from './host-policy.ts';
import { Ipam } from './ipam.ts';
import { Ipcache } from './ipcache.ts';
import { L7Sync } from './l7-sync.ts';
import { AgentMetrics } from './metrics.ts';
import { NamedPorts } from './named-ports.ts';
import { createOperations } from './operations/index.ts';
import { fqdnOptions } from './options.ts';
import { ownIps, ownNode } from './own-node.ts';
import { isInRanges, podRanges } from './pod-ranges.ts';
import { DecidingRules, PolicyActivity } from './policy-activity.ts';
import { PolicyManager } from './policy-manager.ts';
import { policyNodes } from './policy-nodes.ts';
import { PrefixWriter } from './prefix-writer.ts';
import { ProxyGate } from './proxy-gate.ts';
import type { ProxyPart } from './proxy-part.ts';
import { ObjectServices } from './services/object-part.ts';
import { ownPods } from './services/own-pods.ts';
import { ServiceManager } from './services/service-manager.ts';
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
  readonly host: HostPolicyPart;
  readonly activity: PolicyActivity;
  readonly ipam: Ipam;
  readonly ipcache: Ipcache;
  readonly cluster: ClusterSync;
  readonly directory: EndpointDirectory;
  readonly manager: EndpointManager;
  readonly health: HealthPart;
  readonly proxy: ProxyPart;
  readonly l7: L7Sync;
  readonly gate: ProxyGate;
  readonly fqdn: FqdnManager;
  readonly namedPorts: NamedPorts;
  readonly services: ServiceManager;
  readonly objectServices: ObjectServices;
  readonly metrics: AgentMetrics;
  readonly operations: AgentOperations;
  #proxyCounters: ProxyCounters = NO_PROXY_COUNTERS;
  /** Of the policy that the proxy has. */
  #deciding: DecidingRules | undefined;

  constructor(deps: AgentDeps, state: AgentState) {
    this.#deps = deps;
    this.#state = state;
    this.controllers = new Controllers(deps.log);
    this.ipcache = this.#createIpcache();
    this.policy = this.#createPolicy();
    this.host = this.#createHost();
    this.activity = new PolicyActivity(state.now);
    this.ipam = new Ipam({ ipv4Range: deps.options['ipv4-range'], ipv6Range: deps.options['ipv6-range'] });
    this.namedPorts = new NamedPorts((ports) => this.policy.setNamedPorts(ports));
    this.fqdn = this.#createFqdn();
    this.services = this.#createServices();
    this.objectServices = this.#createObjectServices();
    this.cluster = this.#createCluster();
    this.directory = new EndpointDirectory(deps.paths.endpointsDir);
    this.proxy = this.#createProxy();
    this.l7 = new L7Sync({
      proxy: this.proxy,
      policy: () => this.policy.l7Policy(),
      endpoints: () => this.manager.list(),
      isUnknown: () => this.policy.isUnknown,
    });
    this.gate = new ProxyGate({ ...this, log: deps.log });
    this.manager = this.#createManager();
    this.health = deps.health({
      manager: this.manager,
      ipam: this.ipam,
      controllers: this.controllers,
      onAddresses: () => void this.cluster.publishNode(),
      isPolicyEnforced: () => this.policy.mode !== 'never',
    });
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
      services: this.services,
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
        apiServers: options['kube-apiserver-addresses'],
        nodeLabels: options['enable-node-selector-labels'],
        generated: options.health ? healthRules(options['health-port']) : [],
      },
      {
        log,
        emit: this.#emit,
        now: this.#state.now,
        onChange: (touched, reason) => {
          this.activity.retainRules(new Set(this.policy.rules([]).map(({ id }) => id)));
          this.manager.onPolicyChange(touched, reason);
          this.host.onPolicyChange(touched);
          this.objectServices.onPolicyChange();
        },
        endpointsOf: (subjects) => [...this.manager.idsOf(subjects), ...this.host.idsOf(subjects)],
        allEndpoints: () => this.manager.ids(),
        close: (endpoint) => this.manager.close(endpoint),
        prefixes: this.#createPrefixes(),
        onApiServers: (addresses) => this.ipcache.setApiServers(addresses),
        onL7Change: () => this.l7.touch(),
        onL7Done: () => this.l7.done(),
        onImplemented: (delayMs) => this.metrics.implemented(delayMs),
        selectNames: (selectors) => this.fqdn.setSelectors(selectors.map(({ pattern }) => pattern)),
      },
    );
  }

  #createHost(): HostPolicyPart {
    const { options, datapath, log } = this.#deps;
    const labels = options['node-own-labels'].map(([key, value]) => makeLabel('k8s', key, value));
    return new HostPolicyPart(
      { labels, audit: options['host-policy-audit-mode'] },
      { datapath, log, policy: this.policy, controllers: this.controllers, now: this.#state.now },
    );
  }

  #createPrefixes(): PrefixWriter {
    const { paths, log } = this.#deps;
    return new PrefixWriter(join(paths.stateDir, 'local-identities.json'), {
      log,
      now: this.#state.now,
      ipcache: this.ipcache,
      isPodRange: (prefix) => isInRanges(prefix, this.#podRanges()),
      syncIpcache: () => this.cluster.syncIpcache(),
    });
  }

  #podRanges(): readonly Cidr[] {
    return podRanges(this.#deps.options, this.cluster.nodes());
  }

  #createFqdn(): FqdnManager {
    const { paths, options, log, flows } = this.#deps;
    return new FqdnManager(paths, fqdnOptions(options), {
      controllers: this.controllers,
      log,
      now: this.#state.now,
      isInCluster: (address) =>
        this.ipcache.isTaken(hostCidr(address)) || isInRanges(parseCidr(address), this.#podRanges()),
      setAddresses: (changes) => this.policy.setFqdnAddresses(changes),
      connections: () => connectionsOf(flows(), this.manager.list()),
      dnsApplied: (id) => this.proxy.dnsApplied(id),
      hasEndpoint: (id) => this.manager.list().some((endpoint) => endpoint.id === id),
    });
  }

  #onEndpoints(gone: number | undefined): void {
    const { fqdn, log } = { fqdn: this.fqdn, log: this.#deps.log };
    if (gone !== undefined) {
      this.activity.removeEndpoint(gone);
      fqdn
        .removeEndpoint(gone)
        .catch((error: unknown) => log.warn({ error: errorText(error) }, 'names of an endpoint'));
    }
    this.namedPorts.setOwn(this.manager.list().flatMap(({ spec }) => spec.namedPorts));
    this.l7.touchLater();
    this.objectServices.onPods();
  }

  #createIpcache(): Ipcache {
    const { options, datapath, log } = this.#deps;
    const onDirty = (): void => void this.cluster.syncIpcache();
    return new Ipcache(options['node-name'], {
      datapath,
      emit: this.#emit,
      log,
      onDirty,
      mayName: (identity) => this.policy.mayName(identity),
      labelledNodes: options['enable-node-selector-labels'],
    });
  }

  #createServices(): ServiceManager {
    const { paths, datapath, log } = this.#deps;
    const { controllers } = this;
    return new ServiceManager(paths.stateDir, {
      ...{ datapath, log, controllers },
      ...{ now: this.#state.now, emit: this.#emit },
    });
  }

  #createObjectServices(): ObjectServices {
    return new ObjectServices({
      self: this.#deps.options['node-name'],
      services: this.services,
      controllers: this.controllers,
      inventory: () => (this.policy.lost === undefined ? this.policy.inventory : undefined),
      podsKnown: () => this.cluster.endpointsKnown,
      pods: () => [...ownPods(this.manager.list()), ...this.cluster.otherEndpoints()],
    });
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
      onEndpoints: () => this.objectServices.onPods(),
      onNamedPorts: (ports) => this.namedPorts.setOthers(ports),
      ownIps: () => ownIps(this.manager.list(), options['node-name'], node),
      clusterCidrs: options['cluster-cidrs'],
      policyNodes: (nodes) => policyNodes(nodes, options),
    });
  }

  #createManager(): EndpointManager {
    const { datapath, network, store, log, node, options } = this.#deps;
    return new EndpointManager({
      labelFilter: options.labels,
      datapath,
      devices: node.devices,
      holderOf: (ip) => this.cluster.holderOf(ip),
      network,
      store,
      log,
      emit: this.#emit,
      policy: this.policy,
      host: this.host,
      gate: this.gate,
      onEndpoints: (gone) => this.#onEndpoints(gone),
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
      onRecords: (records) => {
        this.activity.addRequests(records, (record) => this.#rulesOf(record));
        events.publish(records);
      },
      onLost: (count) => events.publish([{ kind: 'lost', source: 'proxy', count }]),
      onCounters: (counters) => {
        this.#proxyCounters = counters;
      },
      onObservation: (id, observation) => void this.fqdn.observe(id, observation),
    });
  }

  #rulesOf(record: AccessLogRecord): readonly number[] {
    if (this.#deciding?.policy !== this.l7.sent) this.#deciding = new DecidingRules(this.l7.sent);
    return this.#deciding.of(record);
  }

  #createMetrics(): AgentMetrics {
    const { version, datapath, store, events } = this.#deps;
    return new AgentMetrics({
      version,
      datapath,
      manager: this.manager,
      policy: this.policy,
      activity: this.activity,
      fqdn: this.fqdn,
      now: this.#state.now,
      proxy: this.proxy,
      proxyCounters: () => this.#proxyCounters,
      ipam: this.ipam,
      controllers: this.controllers,
      services: this.services,
      identityCount: async () => (await store.listIdentities()).length,
      nodeCount: () => this.cluster.nodes().length,
      reasonText: (reason) => dropReasonText[reason] ?? `${reason}`,
      eventsLost: () => ({ ring: this.#state.ringLost(), listener: events.lost() }),
    });
  }

  #createOperations(): AgentOperations {
    const { options, origins, storeSpec } = this.#deps;
    return createOperations({
      ...this.statusDeps(),
      ipcache: this.ipcache,
      activity: this.activity,
      fqdn: this.fqdn,
      config: { options, origins, storeSpec, mutable: MUTABLE },
      metricsText: () => this.metrics.text(),
    });
  }
}
