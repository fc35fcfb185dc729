import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { type AgentOperations, ApiError, type EndpointRef, type FqdnCacheFilter } from '../api/operations.ts';
import type * as Api from '../api/schema.ts';
import { formatIp, parseCidr, parseIp } from '../base/ip.ts';
import { parseOneOf } from '../base/option-parsers.ts';
import { type MapUsage, NO_CONNECTIONS } from '../datapath/types.ts';
import type { Identity } from '../model/identity.ts';
import { isLocalIdentity, isNodeIdentity, RESERVED_IDENTITIES } from '../model/identity.ts';
import { formatLabels, hasLabels, labelsSha256, parseLabels } from '../model/labels.ts';
import { goSelectorText, matchesSelector, selectorText } from '../model/selector.ts';
import { fqdnCacheView, fqdnNamesView } from '../policy/fqdn-view.ts';
import { PolicyInvalidError, peerSelectorApiText, ruleName, rulesText } from '../policy/index.ts';
import { type ConfigView, configView } from './config-view.ts';
import type { Endpoint } from './endpoint.ts';
import { addressesOf } from './endpoint-addresses.ts';
import { normaliseOptions } from './endpoint-request.ts';
import { configurationView, endpointView, healthView, labelsView, logView } from './endpoint-view.ts';
import type { FqdnManager } from './fqdn-manager.ts';
import { identityById } from './identity-manager.ts';
import type { Allocation } from './ipam.ts';
import { ipamAnswer, ipamCall } from './ipam-answers.ts';
import type { Ipcache, IpcacheLine } from './ipcache.ts';
import { mapCache } from './map-cache.ts';
import type { PolicyActivity } from './policy-activity.ts';
import { briefStatus, fullStatus, nodeView, type StatusDeps } from './status.ts';

export interface OperationsDeps extends StatusDeps {
  readonly ipcache: Ipcache;
  readonly activity: PolicyActivity;
  readonly fqdn: FqdnManager;
  readonly config: ConfigView;
  readonly metricsText: () => Promise<string>;
}

function identityView(identity: Identity): Api.Identity {
  return {
    id: identity.id,
    labels: formatLabels(identity.labels),
    labelsSHA256: labelsSha256(identity.labels),
  };
}

/** With a reserved label a workload would be taken for the host or for health. `reserved:init` only locks it down. */
function refuseReserved(labels: readonly string[] | null | undefined, field: string): void {
  const wrong = labels?.find((label) => label.startsWith('reserved:') && label !== 'reserved:init');
  if (wrong === undefined) return;
  throw new ApiError(400, `${wrong} is reserved: the agent alone gives it`, {
    field,
    code: 'LABEL_RESERVED',
  });
}

function notFound(what: string): ApiError {
  return new ApiError(404, what);
}

/** What the agent does for its REST API. */
export class Operations implements AgentOperations {
  readonly #deps: OperationsDeps;

  constructor(deps: OperationsDeps) {
    this.#deps = deps;
  }

  async healthz(options: { readonly brief: boolean }): Promise<Api.StatusResponse> {
    return options.brief ? briefStatus(this.#deps) : fullStatus(this.#deps);
  }

  async getConfig(): Promise<Api.DaemonConfiguration> {
    return configView(this.#deps.config, this.#deps);
  }

  async patchConfig(spec: Api.DaemonConfigurationSpec): Promise<void> {
    const { config, policy } = this.#deps;
    const changed = normaliseOptions(spec.options ?? {}, config.mutable);
    const other = Object.entries(changed).find(([name, value]) => config.mutable[name] !== value);
    if (other !== undefined) {
      throw new ApiError(
        400,
        `is ${config.mutable[other[0]]} here and cannot be changed while the agent runs`,
        {
          field: `options.${other[0]}`,
        },
      );
    }
    const mode = spec['policy-enforcement'];
    if (mode !== undefined) policy.setMode(parseOneOf('default', 'always', 'never')(mode));
  }

  async listEndpoints(labels: readonly string[]): Promise<readonly Api.Endpoint[]> {
    const { manager } = this.#deps;
    if (labels.length === 0) return manager.list().map((endpoint) => this.#view(endpoint));
    const found = manager.listByLabels(labels);
    if (found.length === 0) throw notFound(`no endpoint has the labels ${labels.join(', ')}`);
    return found.map((endpoint) => this.#view(endpoint));
  }

  async deleteEndpoints(request: Api.EndpointBatchDeleteRequest): Promise<number> {
    const { manager } = this.#deps;
    const id = request['container-id'];
    if (id === undefined || id === '') throw new ApiError(400, 'is missing', { field: 'container-id' });
    const found = manager.list().filter(({ spec }) => spec.containerId === id);
    if (found.length === 0) throw notFound(`container ${id} has no endpoint`);
    const failures = await Promise.all(found.map((endpoint) => manager.remove(endpoint)));
    return failures.filter((count) => count > 0).length;
  }

  async getEndpoint(ref: EndpointRef): Promise<Api.Endpoint> {
    return this.#view(this.#deps.manager.get(ref));
  }

  async putEndpoint(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<Api.Endpoint> {
    this.#refuseWhileStarting();
    refuseReserved(request.labels, 'labels');
    return this.#view(await this.#deps.manager.create(ref, request));
  }

  async patchEndpoint(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<Api.Endpoint> {
    this.#refuseWhileStarting();
    refuseReserved(request.labels, 'labels');
    return this.#view(await this.#deps.manager.patch(ref, request));
  }

  async deleteEndpoint(ref: EndpointRef): Promise<number> {
    this.#refuseWhileStarting();
    const { manager } = this.#deps;
    return manager.remove(manager.get(ref));
  }

  async getEndpointConfig(ref: EndpointRef): Promise<Api.EndpointConfigurationStatus> {
    return { realized: configurationView(this.#deps.manager.get(ref)), immutable: {} };
  }

  async patchEndpointConfig(ref: EndpointRef, spec: Api.EndpointConfigurationSpec): Promise<void> {
    const { manager } = this.#deps;
    refuseReserved(spec['label-configuration']?.user, 'label-configuration.user');
    manager.patchOptions(ref, spec.options ?? {});
    const user = spec['label-configuration']?.user;
    if (user !== undefined && user !== null) manager.patchLabels(ref, user);
  }

  async getEndpointLabels(ref: EndpointRef): Promise<Api.LabelConfiguration> {
    return labelsView(this.#deps.manager.get(ref), this.#deps.config.options.labels);
  }

  async patchEndpointLabels(ref: EndpointRef, spec: Api.LabelConfigurationSpec): Promise<void> {
    refuseReserved(spec.user, 'user');
    this.#deps.manager.patchLabels(ref, spec.user);
  }

  async getEndpointLog(ref: EndpointRef): Promise<readonly Api.EndpointStatusChange[]> {
    return logView(this.#deps.manager.get(ref).log.newestFirst());
  }

  async getEndpointHealth(ref: EndpointRef): Promise<Api.EndpointHealth> {
    return healthView(this.#deps.manager.get(ref), { enforcing: this.#enforcing });
  }

  async listIdentities(labels: readonly string[]): Promise<readonly Api.Identity[]> {
    const wanted = parseLabels(labels, 'any');
    const reserved = RESERVED_IDENTITIES.filter(({ id }) => id !== 0);
    const all = [
      ...reserved,
      ...(await this.#deps.store.listIdentities()),
      ...this.#deps.policy.localIdentities(),
    ];
    const found = all.filter((identity) => hasLabels(identity.labels, wanted));
    if (labels.length > 0 && found.length === 0)
      throw notFound(`no identity has the labels ${labels.join(', ')}`);
    return found.map(identityView);
  }

  async getIdentity(id: number): Promise<Api.Identity> {
    const identity = await this.#identity(id);
    if (identity === undefined) throw notFound(`no identity ${id}`);
    return identityView(identity);
  }

  async listIdentityEndpoints(): Promise<readonly Api.IdentityEndpoints[]> {
    const counts = new Map<number, { identity: Identity; refCount: number }>();
    for (const { identity } of this.#deps.manager.list()) {
      if (identity === undefined) continue;
      counts.set(identity.id, { identity, refCount: (counts.get(identity.id)?.refCount ?? 0) + 1 });
    }
    return [...counts.values()].map(({ identity, refCount }) => ({
      identity: identityView(identity),
      refCount,
    }));
  }

  async getPolicy(labels: readonly string[]): Promise<Api.Policy> {
    const { policy } = this.#deps;
    const found = policy.rules(parseLabels(labels, 'any'));
    if (labels.length > 0 && found.length === 0)
      throw notFound(`no rule has the labels ${labels.join(', ')}`);
    return { revision: policy.revision, policy: rulesText(found.map(({ rule }) => rule)) };
  }

  async putPolicy(text: string): Promise<Api.Policy> {
    this.#refuseWhileStarting();
    const { policy } = this.#deps;
    try {
      policy.import(text, 'the request');
    } catch (cause) {
      if (!(cause instanceof PolicyInvalidError)) throw cause;
      const syntax = cause.problems.some(({ code }) => code === 'SYNTAX');
      throw new ApiError(syntax ? 400 : 460, cause.message, { code: cause.code, hint: cause.hint, cause });
    }
    return this.getPolicy([]);
  }

  async deletePolicy(labels: readonly string[]): Promise<Api.Policy> {
    this.#refuseWhileStarting();
    const { policy } = this.#deps;
    const wanted = parseLabels(labels, 'any');
    if (wanted.length > 0 && policy.rules(wanted).length === 0) {
      throw notFound(`no rule has the labels ${labels.join(', ')}`);
    }
    policy.delete(wanted);
    return this.getPolicy([]);
  }

  async getPolicySelectors(): Promise<readonly Api.SelectorIdentityMapping[]> {
    return this.#deps.policy.selectors().map(({ peer, identities, users }) => ({
      selector: peerSelectorApiText(peer),
      identities: [...identities],
      users,
      labels: [],
    }));
  }

  async getPolicySubjectSelectors(): Promise<readonly Api.SelectorIdentityMapping[]> {
    const { policy, manager } = this.#deps;
    const subjects = new Map(policy.rules([]).map(({ rule }) => [selectorText(rule.subject), rule.subject]));
    return [...subjects].map(([text, subject]) => {
      const picked = manager
        .list()
        .filter(({ identity }) => identity !== undefined && matchesSelector(subject, identity.labels));
      const identities = [...new Set(picked.map(({ identity }) => identity?.id ?? 0))].sort((a, b) => a - b);
      const users = policy.rules([]).filter(({ rule }) => selectorText(rule.subject) === text).length;
      return { selector: goSelectorText(subject), identities, users, labels: [] };
    });
  }

  async listPolicyRules(): Promise<readonly Api.PolicyRuleStatus[]> {
    const { policy, manager, activity, datapath } = this.#deps;
    const connections = await datapath.readRuleConnections();
    const endpoints = manager.list();
    return policy.rules([]).map(({ id, rule }) => ({
      id,
      name: ruleName(rule.labels),
      labels: formatLabels(rule.labels),
      description: rule.description,
      endpoints: endpoints
        .filter(({ identity }) => identity !== undefined && matchesSelector(rule.subject, identity.labels))
        .map((endpoint) => endpoint.id),
      connections: connections.get(id) ?? NO_CONNECTIONS,
      requests: activity.requestsOf(id),
    }));
  }

  async listPolicyFlows(): Promise<Api.PolicyFlows> {
    return this.#deps.activity.flows();
  }

  async listFqdnCache(filter: FqdnCacheFilter): Promise<readonly Api.DNSLookup[]> {
    return this.#fqdnLookups(filter, undefined);
  }

  async listEndpointFqdnCache(ref: EndpointRef, filter: FqdnCacheFilter): Promise<readonly Api.DNSLookup[]> {
    return this.#fqdnLookups(filter, this.#deps.manager.get(ref).id);
  }

  async deleteFqdnCache(pattern: string | undefined): Promise<void> {
    await this.#deps.fqdn.clean(pattern);
  }

  async getFqdnNames(): Promise<Api.NameManager> {
    const { FQDNPolicySelectors } = fqdnNamesView(
      this.#deps.policy.fqdnSelectors().map(({ pattern }) => pattern),
    );
    return { DNSPollNames: [], FQDNPolicySelectors: [...FQDNPolicySelectors] };
  }

  async listIps(filter: {
    readonly cidr?: string | undefined;
    readonly labels: readonly string[];
  }): Promise<readonly Api.IPListEntry[]> {
    const wanted = parseLabels(filter.labels, 'any');
    const found: Api.IPListEntry[] = [];
    for (const line of this.#deps.ipcache.list()) {
      if (filter.cidr !== undefined && !isWithin(line.cidr, filter.cidr)) continue;
      if (wanted.length > 0 && !(await this.#identityHas(line, wanted))) continue;
      found.push(this.#ipView(line));
    }
    const filtered = filter.cidr !== undefined || wanted.length > 0;
    if (filtered && found.length === 0) throw notFound('no address matches');
    return found;
  }

  async allocateIps(options: {
    readonly family?: 'ipv4' | 'ipv6' | undefined;
    readonly owner?: string | undefined;
    readonly expiration: boolean;
  }): Promise<Api.IPAMResponse> {
    this.#refuseWhileStarting();
    const { ipam } = this.#deps;
    const owner = options.owner ?? '';
    const wanted = ([4, 6] as const).filter((family) =>
      options.family === undefined ? ipam.enabled(family) : options.family === `ipv${family}`,
    );
    const given: Allocation[] = [];
    try {
      for (const family of wanted)
        given.push(ipamCall(() => ipam.allocateNext(family, owner, options.expiration)));
    } catch (error) {
      for (const { ip } of given) ipam.release(ip);
      throw error;
    }
    return ipamAnswer(given, ipam, this.#deps.cluster.nodes()[0]);
  }

  async allocateIp(ip: string, options: { readonly owner?: string | undefined }): Promise<void> {
    this.#refuseWhileStarting();
    ipamCall(() => this.#deps.ipam.allocate(ip, options.owner ?? ''));
  }

  async releaseIp(ip: string): Promise<void> {
    const { manager, ipam } = this.#deps;
    const text = formatIp(parseIp(ip));
    const user = manager.list().find(({ spec }) => addressesOf(spec).includes(text));
    if (user !== undefined) throw new ApiError(409, `${text} is in use by endpoint ${user.id}`);
    ipamCall(() => ipam.release(text));
  }

  async listNodes(): Promise<{ self: string; nodes: readonly Api.NodeElement[] }> {
    const nodes = this.#deps.cluster.nodes();
    const self = nodes[0]?.name ?? '';
    return { self, nodes: nodes.map((node) => nodeView(node, self)) };
  }

  async listNodeIds(): Promise<readonly Api.NodeID[]> {
    return this.#deps.cluster.nodes().map(({ ipv4, ipv6 }, i) => ({
      id: i,
      ips: [ipv4, ipv6].filter((ip) => ip !== undefined),
    }));
  }

  async listMaps(): Promise<Api.BPFMapList> {
    const maps = await this.#deps.datapath.readMapUsage();
    return { maps: maps.map((map) => this.#mapView(map)) };
  }

  async getMap(name: string): Promise<Api.BPFMap> {
    const maps = await this.#deps.datapath.readMapUsage();
    const found = maps.find((map) => map.name === name);
    if (found === undefined) throw notFound(`no map ${name}`);
    return this.#mapView(found);
  }

  async listServices(): Promise<readonly Api.Service[]> {
    return [];
  }

  async getDebugInfo(): Promise<Api.DebugInfo> {
    const deps = this.#deps;
    return {
      'cilium-version': deps.version,
      'kernel-version': release(),
      'cilium-status': await fullStatus(deps),
      'endpoint-list': deps.manager.list().map((endpoint) => this.#view(endpoint)),
      'service-list': [],
      policy: await this.getPolicy([]),
      'environment-variables': [],
      subsystem: {},
    };
  }

  getMetrics(): Promise<string> {
    return this.#deps.metricsText();
  }

  #fqdnLookups(filter: FqdnCacheFilter, endpoint: number | undefined): readonly Api.DNSLookup[] {
    const { pattern: matchPattern, cidr, source } = filter;
    const found = fqdnCacheView(this.#deps.fqdn.lookups(), { matchPattern, cidr, source, endpoint });
    if (found.length === 0 && endpoint === undefined) throw notFound('no name that was looked up matches');
    return found.map((lookup) => ({ ...lookup, ips: [...lookup.ips] }));
  }

  /** Also those that only this node has: of prefixes, names and nodes. */
  async #identity(id: number): Promise<Identity | undefined> {
    if (!isLocalIdentity(id) && !isNodeIdentity(id)) return identityById(id, this.#deps.store);
    return this.#deps.policy.localIdentities().find((identity) => identity.id === id);
  }

  get #enforcing(): boolean {
    return this.#deps.datapath.kind === 'bpf';
  }

  #view(endpoint: Endpoint): Api.Endpoint {
    return endpointView(endpoint, {
      enforcing: this.#enforcing,
      labelFilter: this.#deps.config.options.labels,
    });
  }

  /** Policy maps of endpoints lie in one pinned map of maps: each is shown beside it, under its own name. */
  #mapView({ name, path, entries }: MapUsage): Api.BPFMap {
    const { manager, ipcache } = this.#deps;
    const cache = mapCache(name, { endpoints: manager.list(), ipcache });
    const view = { path: join(dirname(path), name), entries };
    return cache === undefined ? view : { ...view, cache };
  }

  #refuseWhileStarting(): void {
    if (!this.#deps.started()) throw new ApiError(503, 'the agent is still starting');
  }

  async #identityHas(line: IpcacheLine, wanted: ReturnType<typeof parseLabels>): Promise<boolean> {
    const identity = await this.#identity(line.identity);
    return identity !== undefined && hasLabels(identity.labels, wanted);
  }

  #ipView(line: IpcacheLine): Api.IPListEntry {
    const [namespace = '', name = ''] =
      line.source === 'node' ? ['', line.owner ?? ''] : (line.owner ?? '').split('/');
    const own = this.#deps.cluster.nodes()[0];
    const hostIP = line.hostIp ?? (line.source === 'local' ? (own?.ipv4 ?? own?.ipv6) : undefined);
    return {
      cidr: line.cidr,
      identity: line.identity,
      ...(hostIP !== undefined && { hostIP }),
      metadata: { source: line.source, namespace, name },
    };
  }
}

function isWithin(cidr: string, wanted: string): boolean {
  const [inner, outer] = [parseCidr(cidr), parseCidr(wanted)];
  if (inner.family !== outer.family || inner.length < outer.length) return false;
  return formatIp(parseCidr(`${formatIp(inner.bytes)}/${outer.length}`).bytes) === formatIp(outer.bytes);
}
