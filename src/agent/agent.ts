import { writeAgentRecord } from '../base/agent-record.ts';
import { errorText } from '../base/errors.ts';
import type { ListenAddress } from '../base/option-parsers.ts';
import type { Datapath } from '../datapath/types.ts';
import type { MonitorEvent } from '../model/event.ts';
import type { AgentDeps } from './agent-deps.ts';
import { AgentParts } from './agent-parts.ts';
import { type ApiServer, createApiServer } from './api/index.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import { AgentEventType, agentEvent } from './events.ts';
import type { FqdnManager } from './fqdn-manager.ts';
import type { Ipam } from './ipam.ts';
import { listenAddressOf } from './node-facts.ts';
import { datapathNode } from './own-node.ts';
import type { PolicyManager } from './policy-manager.ts';
import { redirectsIn } from './redirects.ts';
import { type RestoreReport, restoreEndpoints } from './restore.ts';
import { openStateFolder } from './state-folder.ts';
import { briefStatus } from './status.ts';
import { type TextAnswer, TextServer } from './text-server.ts';

const GARBAGE_INTERVAL_MS = 30_000;
const CONFIRM_IDENTITIES_MS = 15_000;
const TIDY_INTERVAL_MS = 30_000;

/**
 * The agent of one node. `start` resolves when it serves: endpoints of an earlier agent are found again by then, and
 * their regeneration is under way while the pinned datapath goes on enforcing.
 */
export class Agent {
  readonly #deps: AgentDeps;
  readonly #now: () => Date;
  readonly #parts: AgentParts;
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
    this.#parts = new AgentParts(deps, {
      now: this.#now,
      started: () => this.#started,
      problems: () => problemTexts(this.#restore),
      ringLost: () => this.#ringLost,
    });
    const { operations, metrics } = this.#parts;
    this.#api = createApiServer(
      { socketPath: deps.paths.agentSocket },
      {
        operations,
        onCall: (record) => metrics.apiCall(record),
        onError: (error, operation) =>
          deps.log.error({ operation, error: errorText(error) }, 'API call failed'),
      },
    );
    this.#servers = this.#createServers();
  }

  /** For whoever runs the agent as an object. */
  get manager(): EndpointManager {
    return this.#parts.manager;
  }

  get policy(): PolicyManager {
    return this.#parts.policy;
  }

  get fqdn(): FqdnManager {
    return this.#parts.fqdn;
  }

  get ipam(): Ipam {
    return this.#parts.ipam;
  }

  /** @throws CiliateError of the part that could not start; everything is released again then */
  async start(): Promise<void> {
    const { log, paths, events } = this.#deps;
    this.#unlock = openStateFolder(paths);
    try {
      this.#writeRecord();
      await this.#startParts();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#started = true;
    events.publish([agentEvent(AgentEventType.started, { time: this.#now().toISOString() })]);
    const { restored, cleaned, corrupt } = this.#restore;
    const revision = this.#parts.policy.revision;
    log.info({ restored, cleaned, corrupt: corrupt.length, revision }, 'agent started');
    const health = this.#parts.health.start();
    health.catch((error: unknown) =>
      log.warn({ error: errorText(error) }, 'health could not be started yet'),
    );
  }

  /** Stops serving. The pinned datapath, the health process and all state stay. May be called twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  #writeRecord(): void {
    const { paths, options } = this.#deps;
    writeAgentRecord(paths.stateDir, {
      nodeName: options['node-name'],
      bpfDir: paths.bpfDir,
      pid: process.pid,
      startedAt: this.#now().toISOString(),
    });
  }

  async #startParts(): Promise<void> {
    const { datapath, events, network, log, options, node } = this.#deps;
    const { policy, ipcache, cluster, ipam, proxy, gate, fqdn, services } = this.#parts;
    await events.start();
    datapath.onEvents({
      take: (batch) => this.#onDatapathEvents(batch),
      wantsDrops: () => events.heard(),
    });
    const found = await datapath.start(datapathNode(options, node, ipam));
    log.info({ adopted: found.endpoints.length, kind: datapath.kind }, 'datapath started');
    await network.prepareNode();
    await proxy.start();
    await ipcache.adopt();
    await services.load();
    fqdn.load();
    policy.load();
    gate.followPorts();
    await cluster.start();
    await this.#findEndpoints(found.endpoints);
    await cluster.syncIpcache();
    void cluster.publishIps();
    void cluster.publishNode();
    this.#addControllers();
    for (const server of this.#servers) await server.start();
    await this.#api.start();
  }

  async #findEndpoints(adopted: Awaited<ReturnType<Datapath['start']>>['endpoints']): Promise<void> {
    const { datapath, network, store, log } = this.#deps;
    const { directory, manager, cluster, policy, fqdn, host, objectServices } = this.#parts;
    this.#restore = await restoreEndpoints(adopted, {
      directory,
      datapath,
      network,
      store,
      manager,
      log,
      now: this.#now,
    });
    await this.#takeOverPolicies();
    const ids = manager.list().map(({ id }) => id);
    const found = policy.endpointsFound(ids);
    for (const endpoint of manager.list()) void manager.regenerate(endpoint, 'agent restart');
    void fqdn.retainEndpoints(new Set(ids));
    await host.start();
    await objectServices.start();
    void found.then(() => policy.rulesKnown()).then(() => cluster.ownEndpointsKnown());
  }

  /**
   * Before the first policy goes to the proxy: whoever has flows there must be known, since the proxy judges nothing of
   * whom it does not know.
   */
  async #takeOverPolicies(): Promise<void> {
    const { datapath, log } = this.#deps;
    const { manager, policy } = this.#parts;
    for (const endpoint of manager.list()) {
      try {
        if (endpoint.attached) {
          endpoint.kernelState = await datapath.readPolicy(endpoint.id);
          endpoint.redirects = redirectsIn(endpoint.kernelState);
        }
        for (const identity of new Set([endpoint.inForce, endpoint.identity]))
          if (identity !== undefined) policy.resolve(identity, endpoint.spec.namedPorts);
      } catch (error) {
        log.warn(
          { endpoint: endpoint.id, error: errorText(error) },
          'policy of an endpoint is not known yet',
        );
      }
    }
  }

  async #stop(): Promise<void> {
    const { datapath, store, events, log } = this.#deps;
    const { health, proxy, manager, cluster, controllers, ipam, policy, l7, fqdn } = this.#parts;
    this.#started = false;
    await this.#api.stop();
    for (const server of this.#servers) await server.stop();
    await health.stop();
    policy.stop();
    l7.stop();
    await proxy.stop();
    await manager.stop();
    await fqdn.stop();
    cluster.stop();
    await controllers.stop();
    ipam.stop();
    await datapath.stop();
    await store.stop();
    await events.stop();
    this.#unlock?.();
    this.#unlock = undefined;
    log.info({}, 'agent stopped, the datapath goes on enforcing');
  }

  #addControllers(): void {
    const { datapath } = this.#deps;
    const { controllers, manager, policy, fqdn } = this.#parts;
    const add = (name: string, intervalMs: number, run: () => Promise<void>): void => {
      void controllers.add({ name, intervalMs, run }).trigger();
    };
    if (datapath.kind === 'bpf') {
      add(
        'conntrack-garbage-collection',
        GARBAGE_INTERVAL_MS,
        async () => void (await datapath.collectGarbage()),
      );
      add('rule-counters-garbage-collection', GARBAGE_INTERVAL_MS, async () =>
        datapath.retainRuleConnections(new Set(policy.rules([]).map(({ id }) => id))),
      );
    }
    add('tidy-local-identities', TIDY_INTERVAL_MS, () => policy.tidy());
    fqdn.start();
    add('confirm-identities', CONFIRM_IDENTITIES_MS, async () => {
      const unsure = manager
        .list()
        .filter((endpoint) => endpoint.state === 'ready' && endpoint.needsIdentity);
      for (const endpoint of unsure) void manager.regenerate(endpoint, 'identity to be confirmed');
    });
  }

  #onDatapathEvents(batch: readonly MonitorEvent[]): void {
    for (const event of batch)
      if (event.kind === 'lost' && event.source === 'ring') this.#ringLost += event.count;
    this.#parts.activity.add(batch);
    this.#deps.events.publish(batch);
  }

  #createServers(): TextServer[] {
    const { options, node } = this.#deps;
    const hosts = [options['node-name'], ...options['allowed-hosts']];
    const serve = (
      address: ListenAddress | undefined,
      path: string,
      answer: () => Promise<TextAnswer>,
    ): TextServer[] =>
      address === undefined
        ? []
        : [new TextServer({ address: listenAddressOf(address, node), path, hosts, answer })];
    return [
      ...serve(options['metrics-address'], '/metrics', () => this.#metricsAnswer()),
      ...serve(options['liveness-address'], '/healthz', () => this.#livenessAnswer()),
    ];
  }

  async #metricsAnswer(): Promise<TextAnswer> {
    const contentType = 'text/plain; version=0.0.4; charset=utf-8';
    return { status: 200, contentType, body: await this.#parts.metrics.text() };
  }

  async #livenessAnswer(): Promise<TextAnswer> {
    const status = briefStatus(this.#parts.statusDeps());
    const ok = status.cilium?.state !== 'Failure';
    return { status: ok ? 200 : 500, contentType: 'application/json', body: `${JSON.stringify(status)}\n` };
  }
}

function problemTexts({ corrupt, problems }: RestoreReport): readonly string[] {
  const texts = corrupt.map(
    ({ id, aside }) => `endpoint ${id}: state file was corrupt, set aside as ${aside}`,
  );
  return [...texts, ...problems];
}
