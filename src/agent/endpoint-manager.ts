import { formatEndpointRef } from '../api/endpoint-ref.ts';
import { ApiError, type EndpointRef } from '../api/operations.ts';
import type * as Api from '../api/schema.ts';
import { errorText, SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { LabelFilter } from '../model/label-filter.ts';
import { formatLabels, hasLabels, type Label, labelSetText, parseLabels } from '../model/labels.ts';
import type { Store } from '../store/types.ts';
import { Endpoint, type EndpointPolicy } from './endpoint.ts';
import { addressesOf, hostCidr, ownerOf } from './endpoint-addresses.ts';
import { EndpointBuilder } from './endpoint-builder.ts';
import type { EndpointDirectory } from './endpoint-directory.ts';
import { findEndpoint } from './endpoint-index.ts';
import { EndpointIntake, type EndpointIntakeDeps } from './endpoint-intake.ts';
import { recordOf } from './endpoint-record.ts';
import { ENDPOINT_OPTIONS, normaliseOptions, requestLabels } from './endpoint-request.ts';
import { AgentEventType, agentEvent, type EmitEvent } from './events.ts';
import type { Ipcache } from './ipcache.ts';
import type { PolicyManager } from './policy-manager.ts';
import type { ProxyGate } from './proxy-gate.ts';
import { Regenerator } from './regenerator.ts';

export interface EndpointManagerDeps extends EndpointIntakeDeps {
  readonly policy: PolicyManager;
  readonly gate: ProxyGate;
  readonly labelFilter: LabelFilter;
  readonly store: Store;
  readonly ipcache: Ipcache;
  readonly directory: EndpointDirectory;
  readonly emit: EmitEvent;
  readonly log: Logger;
  readonly now: () => Date;
  /** Publishes this node's addresses; settles when they are in the store. */
  readonly publish: () => Promise<void>;
  /** Writes the ipcache's difference to the datapath. */
  readonly syncIpcache: () => Promise<void>;
  /** The node as an endpoint, if it has a policy, and how its options are changed. */
  readonly host: {
    readonly endpoint: Endpoint | undefined;
    patchOptions(options: Readonly<Record<string, string>>): void;
  };
  /** Endpoints came, went or have other identities. */
  readonly onEndpoints: (gone?: number) => void;
  readonly onRegenerated?: (durationMs: number, failed: boolean) => void;
}

export interface EndpointManagerOptions {
  /** How long `sync-build-endpoint` waits for the first policy, and a build for the store. Default 30 s and 2 s. */
  readonly syncBuildMs?: number;
  readonly publishMs?: number;
  readonly retryBaseMs?: number;
}

const SYNC_BUILD_MS = 30_000;
const PUBLISH_MS = 2_000;

/** The endpoints of this node: made, found, changed and taken down. */
export class EndpointManager {
  readonly #deps: EndpointManagerDeps;
  readonly #options: EndpointManagerOptions;
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #intake: EndpointIntake;
  readonly #builder: EndpointBuilder;
  readonly #regenerator: Regenerator;

  constructor(deps: EndpointManagerDeps, options: EndpointManagerOptions = {}) {
    this.#deps = deps;
    this.#options = options;
    this.#intake = new EndpointIntake(this.#endpoints, deps);
    this.#builder = new EndpointBuilder({
      ...deps,
      onIdentity: (endpoint) => this.#onIdentity(endpoint),
      onSwitched: (previous) => this.#forgetIdentity(previous),
    });
    this.#regenerator = new Regenerator(
      {
        regenerate: (endpoint, reasons) => this.#builder.build(endpoint, reasons),
        settle: (endpoint) => this.#builder.settle(endpoint),
        onDone: (_endpoint, durationMs, error) => deps.onRegenerated?.(durationMs, error !== undefined),
      },
      options.retryBaseMs === undefined ? {} : { retryBaseMs: options.retryBaseMs },
    );
  }

  /** In the order of their numbers. */
  list(): readonly Endpoint[] {
    return [...this.#endpoints.values()].sort((a, b) => a.id - b.id);
  }

  /** The same, and the node itself where it has a policy. */
  listAll(): readonly Endpoint[] {
    const { endpoint } = this.#deps.host;
    return endpoint === undefined ? this.list() : [...this.list(), endpoint];
  }

  /** Numbers of the endpoints that have one of these identities, or enforce its policy. */
  idsOf(identities: ReadonlySet<NumericIdentity>): readonly number[] {
    const found: number[] = [];
    for (const { id, identity, inForce, isEnding } of this.#endpoints.values())
      if (!isEnding && [identity, inForce].some((one) => one !== undefined && identities.has(one.id)))
        found.push(id);
    return found;
  }

  /** Numbers of all endpoints. */
  ids(): readonly number[] {
    return [...this.#endpoints.values()].filter(({ isEnding }) => !isEnding).map(({ id }) => id);
  }

  /** Lets nothing pass an endpoint until its policy is written anew. @rejects as the datapath does */
  async close(id: number): Promise<void> {
    const endpoint = this.#endpoints.get(id);
    if (endpoint === undefined || endpoint.isEnding || !endpoint.attached) return;
    endpoint.closings++;
    endpoint.kernelEnforcement = undefined;
    try {
      await this.#deps.datapath.lockEndpoint(id);
    } catch (error) {
      // Whom the datapath does not know it lets nothing pass to or from.
      if (!(error instanceof SystemError && error.code === 'DATAPATH_NO_ENDPOINT')) throw error;
    }
    endpoint.kernelEnforcement = undefined;
    endpoint.note('Closed until its policy is written: a change could not wait for it any longer', 'Failed');
    this.#deps.log.warn({ endpoint: id }, 'endpoint closed until its policy is written');
  }

  listByLabels(labels: readonly string[]): readonly Endpoint[] {
    const wanted = parseLabels(labels, 'any');
    return this.listAll().filter((endpoint) => hasLabels(endpoint.labels, wanted));
  }

  /** @throws ApiError 404 */
  get(ref: EndpointRef): Endpoint {
    const found = findEndpoint(new Map(this.listAll().map((endpoint) => [endpoint.id, endpoint])), ref);
    if (found !== undefined) return found;
    throw new ApiError(404, `no endpoint ${formatEndpointRef(ref)}`, { code: 'ENDPOINT_NOT_FOUND' });
  }

  /** Of the node itself neither labels nor anything else but options can be changed here. @throws ApiError 400, 404 */
  #getOwn(ref: EndpointRef): Endpoint {
    const endpoint = this.get(ref);
    if (endpoint !== this.#deps.host.endpoint) return endpoint;
    throw new ApiError(
      400,
      `endpoint ${endpoint.id} is this node: its labels are those of --node-own-labels`,
      {
        code: 'ENDPOINT_IS_HOST',
      },
    );
  }

  /** Takes over an endpoint of an earlier agent: its record is on disk already. */
  adopt(endpoint: Endpoint): void {
    this.#endpoints.set(endpoint.id, endpoint);
    for (const ip of addressesOf(endpoint.spec)) {
      if (this.#deps.ipam.holder(ip) === undefined) this.#deps.ipam.allocate(ip, ownerOf(endpoint.spec));
    }
    if (endpoint.identity !== undefined) this.#cache(endpoint, endpoint.identity);
  }

  /**
   * Makes an endpoint. Until its first policy is written nothing passes it; what goes wrong before it is attached is
   * undone and leaves nothing behind.
   * @throws ApiError 400, 409, 500
   */
  async create(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<Endpoint> {
    const labels = requestLabels(request.labels);
    const spec = await this.#intake.settle(ref, request);
    const { id } = spec;
    this.#intake.refuseDuplicate(spec);
    const endpoint = new Endpoint({ spec, labels, state: 'creating', now: this.#deps.now });
    this.#endpoints.set(id, endpoint);
    const taken: string[] = [];
    try {
      this.#intake.takeAddresses(spec, request, taken);
      this.#deps.directory.write(recordOf(endpoint));
      await this.#builder.attach(endpoint);
    } catch (error) {
      await this.#undo(endpoint, taken);
      throw error;
    }
    this.#deps.emit(agentEvent(AgentEventType.endpointCreated, eventFields(endpoint)));
    this.#deps.log.info({ ...eventFields(endpoint), interface: spec.interfaceName }, 'endpoint created');
    const built = this.#regenerator.request(endpoint, 'endpoint creation');
    if (request['sync-build-endpoint'] === true) await this.#awaitBuild(endpoint, built);
    return endpoint;
  }

  /** Changes labels and options of an endpoint. What it is made of cannot change. @throws ApiError 400, 404 */
  async patch(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<Endpoint> {
    const endpoint = this.#getOwn(ref);
    if (request.labels !== undefined) this.#setLabels(endpoint, requestLabels(request.labels));
    return endpoint;
  }

  /** `user` replaces the endpoint's labels. @throws ApiError 400, 404 */
  patchLabels(ref: EndpointRef, user: readonly string[] | null | undefined): void {
    const endpoint = this.#getOwn(ref);
    this.#setLabels(endpoint, requestLabels(user, 'user'));
  }

  /** @throws ApiError 400 naming the option, 404 */
  patchOptions(ref: EndpointRef, options: Readonly<Record<string, string>>): void {
    const endpoint = this.get(ref);
    if (endpoint === this.#deps.host.endpoint) {
      this.#deps.host.patchOptions(options);
      return;
    }
    const changed = normaliseOptions(options, ENDPOINT_OPTIONS);
    endpoint.options = { ...endpoint.options, ...changed };
    this.#deps.directory.write(recordOf(endpoint));
    endpoint.note(
      `Options changed: ${Object.entries(changed)
        .map(([name, value]) => `${name}=${value}`)
        .join(', ')}`,
    );
  }

  /**
   * Takes an endpoint down: unreachable first, then without programs.
   * @returns how many steps failed; the endpoint is gone all the same
   */
  async remove(endpoint: Endpoint): Promise<number> {
    if (endpoint === this.#deps.host.endpoint)
      throw new ApiError(400, `endpoint ${endpoint.id} is this node`, {
        code: 'ENDPOINT_IS_HOST',
        hint: 'delete the rules that select it',
      });
    if (endpoint.isEnding) return 0;
    endpoint.moveTo('disconnecting', 'Deleting endpoint');
    this.#deps.policy.order.forget(endpoint.id);
    await this.#regenerator.end(endpoint);
    this.#deps.policy.order.forget(endpoint.id);
    const failures = await this.#takeDown(endpoint);
    this.#endpoints.delete(endpoint.id);
    endpoint.moveTo('disconnected', 'Deleted endpoint');
    for (const identity of [endpoint.identity, endpoint.inForce]) this.#forgetIdentity(identity?.id);
    this.#deps.onEndpoints(endpoint.id);
    this.#deps.emit(agentEvent(AgentEventType.endpointDeleted, eventFields(endpoint)));
    this.#deps.log.info({ ...eventFields(endpoint), failures }, 'endpoint deleted');
    return failures;
  }

  /** Regenerates an endpoint; settles as its next build does. */
  regenerate(endpoint: Endpoint, reason: string): Promise<void> {
    return this.#regenerator.request(endpoint, reason);
  }

  /** Regenerates the endpoints of these identities; the others only take over the revision, which changed nothing for them. */
  onPolicyChange(touched: ReadonlySet<NumericIdentity>, reason: string): void {
    for (const endpoint of this.#endpoints.values()) {
      const { identity, inForce } = endpoint;
      if (endpoint.isEnding || identity === undefined) continue;
      const isTouched = touched.has(identity.id) || (inForce !== undefined && touched.has(inForce.id));
      if (isTouched || !this.#followsUnchanged(endpoint)) {
        void this.#regenerator.request(endpoint, reason);
      }
    }
  }

  async stop(): Promise<void> {
    await this.#regenerator.stop();
  }

  /** @returns whether the new revision asks exactly what is enforced already, and then it is realized */
  #followsUnchanged(endpoint: Endpoint): boolean {
    if (endpoint.state !== 'ready' || endpoint.identity === undefined) return false;
    const desired = this.#desiredOf(endpoint, endpoint.identity);
    if (desired === undefined || desired.policy !== endpoint.realized?.policy) return false;
    endpoint.desired = desired;
    endpoint.realized = desired;
    return true;
  }

  /** One whose policy cannot be worked out is regenerated: that fails, shows why and locks the endpoint. */
  #desiredOf(endpoint: Endpoint, identity: Identity): EndpointPolicy | undefined {
    try {
      return this.#deps.policy.resolve(identity, endpoint.spec.namedPorts);
    } catch (error) {
      this.#deps.log.error({ identity: identity.id, error: errorText(error) }, 'policy cannot be worked out');
      return undefined;
    }
  }

  #setLabels(endpoint: Endpoint, labels: readonly Label[]): void {
    if (labelSetText(labels) === labelSetText(endpoint.labels)) return;
    const before = endpoint.labels;
    endpoint.labels = labels;
    try {
      this.#deps.directory.write(recordOf(endpoint));
    } catch (error) {
      endpoint.labels = before;
      throw error;
    }
    void this.#regenerator.request(endpoint, 'labels changed');
  }

  async #onIdentity(endpoint: Endpoint): Promise<void> {
    const identity = endpoint.identity;
    if (identity === undefined) return;
    this.#deps.directory.write(recordOf(endpoint));
    this.#cache(endpoint, identity);
    this.#deps.onEndpoints();
    await this.#deps.syncIpcache();
    await this.#publish(endpoint);
  }

  /** Peers learn of the endpoint before it is ready, unless the store is away: then the publication is tried again. */
  async #publish(endpoint: Endpoint): Promise<void> {
    try {
      const inTime = await withDeadline(this.#deps.publish(), this.#options.publishMs ?? PUBLISH_MS);
      if (!inTime) endpoint.note('Its addresses are not published yet', 'Failed');
    } catch (error) {
      endpoint.note(`Its addresses are not published yet: ${errorText(error)}`, 'Failed');
    }
  }

  #cache(endpoint: Endpoint, identity: Identity): void {
    const owner = endpoint.spec.k8sPodName === undefined ? undefined : ownerOf(endpoint.spec);
    for (const ip of addressesOf(endpoint.spec))
      this.#deps.ipcache.setLocal(hostCidr(ip), identity.id, owner);
  }

  #forgetIdentity(id: NumericIdentity | undefined): void {
    if (id === undefined || this.idsOf(new Set([id])).length > 0) return;
    this.#deps.policy.forget(id);
  }

  async #undo(endpoint: Endpoint, taken: readonly string[]): Promise<void> {
    if (endpoint.state === 'creating') endpoint.moveTo('disconnecting', 'Endpoint creation failed', 'Failed');
    await this.#takeDown(endpoint, taken);
    this.#endpoints.delete(endpoint.id);
  }

  async #takeDown(endpoint: Endpoint, addresses = addressesOf(endpoint.spec)): Promise<number> {
    const { network, datapath, ipam, ipcache, directory } = this.#deps;
    let failures = 0;
    const step = async (what: string, run: () => unknown): Promise<void> => {
      try {
        await run();
      } catch (error) {
        failures++;
        endpoint.note(`${what} failed: ${errorText(error)}`, 'Failed');
        this.#deps.log.warn({ endpoint: endpoint.id, error: errorText(error) }, `${what} failed`);
      }
    };
    if (endpoint.attached) {
      await step('removing routes', () => network.removeEndpoint(endpoint.spec));
      await step('detaching', () => datapath.detachEndpoint(endpoint.id));
    }
    endpoint.datapathIdentity = undefined;
    for (const ip of addresses) {
      ipcache.removeLocal(hostCidr(ip));
      if (ipam.holder(ip) !== undefined) await step(`releasing ${ip}`, () => ipam.release(ip));
    }
    await step('removing its record', () => directory.remove(endpoint.id));
    void this.#deps.publish().catch(() => undefined);
    return failures;
  }

  async #awaitBuild(endpoint: Endpoint, built: Promise<void>): Promise<void> {
    try {
      const inTime = await withDeadline(built, this.#options.syncBuildMs ?? SYNC_BUILD_MS);
      if (!inTime) throw new Error('its first policy was not in place in time');
    } catch (error) {
      await this.remove(endpoint);
      throw new ApiError(500, `endpoint ${endpoint.id} could not be built: ${errorText(error)}`, {
        cause: error,
      });
    }
  }
}

/** @returns whether the promise was fulfilled within the time; rejects as it does */
async function withDeadline(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([promise.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}

function eventFields(endpoint: Endpoint): Record<string, unknown> {
  const { k8sPodName, k8sNamespace } = endpoint.spec;
  return {
    id: endpoint.id,
    labels: formatLabels(endpoint.labels),
    ...(k8sPodName !== undefined && { 'pod-name': k8sPodName, namespace: k8sNamespace ?? '' }),
  };
}
