import { errorText, SystemError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import { PolicyWriteError } from '../datapath/errors.ts';
import type { Datapath, DatapathEndpoint, MacBytes } from '../datapath/types.ts';
import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { LabelFilter } from '../model/label-filter.ts';
import { formatLabels } from '../model/labels.ts';
import { EMPTY_MAP_STATE, type MapState } from '../model/map-state.ts';
import { lockedPolicy, type ResolvedPolicy } from '../policy/index.ts';
import type { Store } from '../store/types.ts';
import type { Endpoint, EndpointPolicy, EndpointSpec } from './endpoint.ts';
import { AgentEventType, agentEvent, type EmitEvent } from './events.ts';
import { INIT_IDENTITY, identityOfLabels } from './identity-manager.ts';
import { parseMac } from './mac.ts';
import type { NetworkSetup } from './network-setup.ts';
import type { PolicyManager } from './policy-manager.ts';
import type { ProxyGate } from './proxy-gate.ts';
import { eitherRedirects, NO_REDIRECTS, oncePerState, redirectsIn, withoutProxy } from './redirects.ts';

export interface EndpointBuilderDeps {
  readonly datapath: Datapath;
  readonly network: NetworkSetup;
  readonly policy: PolicyManager;
  readonly gate: ProxyGate;
  readonly labelFilter: LabelFilter;
  readonly store: Store;
  readonly emit: EmitEvent;
  readonly log: Logger;
  /** The endpoint has another identity now: its addresses are to be published, its record written. */
  readonly onIdentity: (endpoint: Endpoint) => Promise<void>;
  /** The datapath enforces the policy of another identity for it than of this one. */
  readonly onSwitched: (previous: NumericIdentity) => void;
}

const LOCKED_DOWN = { ingress: true, egress: true } as const;

function closedMeanwhile(id: number): SystemError {
  return new SystemError(
    `endpoint ${id} was closed: what was worked out for it is older than what it waits for`,
    {
      code: 'ENDPOINT_LOCKED',
    },
  );
}

/** An endpoint without a link (there is no datapath then) has no MAC. */
function macOf(text: string): MacBytes {
  return text === '' ? new Uint8Array(6) : parseMac(text);
}

export function datapathEndpoint(spec: EndpointSpec, identity: number): DatapathEndpoint {
  return {
    id: spec.id,
    identity,
    ifindex: spec.interfaceIndex,
    ifname: spec.interfaceName,
    mac: macOf(spec.mac),
    hostMac: macOf(spec.hostMac),
    ipv4: spec.ipv4 === undefined ? undefined : parseIp(spec.ipv4),
    ipv6: spec.ipv6 === undefined ? undefined : parseIp(spec.ipv6),
  };
}

/**
 * Brings one endpoint's datapath to what its labels and the rules ask:
 * 1. programs on its interface if they are not there (nothing passes yet), then its routes;
 * 2. its identity, if it has none or its labels changed;
 * 3. the proxy, if it is to judge anything; its policy, which it shares with all who have the same, and its identity,
 *    switched as one, then the epoch moves. An identity that some policy map does not know yet waits: the endpoint stays what it was before, or
 *    closed when it is new, and is built again;
 * 4. (`settle`) the ipcache, when all maps that the change touches are written.
 * A failure shows as `not-ready` and in the log, and is tried again. One to write leaves the policy that was enforced
 * before, until a change waits for it (`PolicyOrder`); where the policy cannot be worked out the endpoint is locked
 * down, since what is enforced may allow what the rules of now do not.
 */
export class EndpointBuilder {
  readonly #deps: EndpointBuilderDeps;
  readonly #redirectsIn = oncePerState(redirectsIn);
  readonly #withoutProxy = oncePerState(withoutProxy);

  constructor(deps: EndpointBuilderDeps) {
    this.#deps = deps;
  }

  async build(endpoint: Endpoint, reasons: readonly string[]): Promise<void> {
    if (endpoint.isEnding) return;
    const { order } = this.#deps.policy;
    endpoint.attempted = order.sequence;
    endpoint.reasons = reasons;
    try {
      await this.attach(endpoint);
      const unsettled = await this.#settleIdentity(endpoint);
      if (endpoint.isEnding) return;
      if (endpoint.state !== 'waiting-to-regenerate') {
        endpoint.moveTo('waiting-to-regenerate', `Triggering regeneration: ${reasons.join(', ')}`);
      }
      await this.#applyPolicy(endpoint);
      if (unsettled !== undefined) throw unsettled;
    } catch (error) {
      this.#failed(endpoint, error);
      order.failed(endpoint.id, endpoint.attempted);
      throw error;
    }
  }

  /**
   * Waits until the whole change that was written is in force.
   * @returns whether it has to be built again, because its identity may be named now
   */
  async settle(endpoint: Endpoint): Promise<boolean> {
    if (endpoint.isEnding) return false;
    const { policy } = this.#deps;
    try {
      await policy.order.settled(endpoint.attempted);
      if (endpoint.isEnding) return false;
      if (endpoint.awaitsName) return this.#canBeNamed(endpoint);
    } catch (error) {
      this.#failed(endpoint, error);
      throw error;
    }
    if (endpoint.desired !== undefined) endpoint.realized = endpoint.desired;
    this.#succeeded(endpoint, endpoint.reasons);
    return false;
  }

  /** @throws SystemError IDENTITY_WAITS, to be tried again: the rules are lost, or something failed */
  #canBeNamed({ identity }: Endpoint): true {
    if (identity !== undefined && this.#deps.policy.mayName(identity.id)) return true;
    throw new SystemError(`not every policy map knows identity ${identity?.id} yet`, {
      code: 'IDENTITY_WAITS',
    });
  }

  /** Programs first, then routes: what reaches the endpoint earlier than its programs would reach it unjudged. */
  async attach(endpoint: Endpoint): Promise<void> {
    if (endpoint.attached || endpoint.isEnding) return;
    const identity = (endpoint.identity ?? INIT_IDENTITY).id;
    await this.#deps.datapath.attachEndpoint(datapathEndpoint(endpoint.spec, identity));
    endpoint.datapathIdentity = identity;
    endpoint.kernelState = EMPTY_MAP_STATE;
    endpoint.redirects = NO_REDIRECTS;
    await this.#deps.network.addEndpoint(endpoint.spec);
    endpoint.note(`Attached to ${endpoint.spec.interfaceName}`);
  }

  /**
   * The identity of its labels.
   * @returns why they have none yet, where the endpoint has an identity all the same and goes on under its policy
   * @throws the same where it has none
   */
  async #settleIdentity(endpoint: Endpoint): Promise<unknown> {
    if (!endpoint.needsIdentity) return undefined;
    const { labels } = endpoint;
    endpoint.moveTo('waiting-for-identity', 'Waiting for the identity of its labels');
    const found = await this.#identityOf(endpoint).catch((error: unknown) => ({ error }));
    if (endpoint.isEnding) return undefined;
    if ('error' in found) {
      if (endpoint.inForce === undefined) throw found.error;
      return found.error;
    }
    endpoint.identity = found.identity;
    if (found.certain) endpoint.identityFor = labels;
    endpoint.moveTo('waiting-to-regenerate', `Set identity ${found.identity.id}`);
    // The policy of peers follows the identity too: it must be known here before this node's rules are resolved.
    this.#deps.policy.updateIdentities({ upserts: [found.identity] });
    await this.#deps.onIdentity(endpoint);
    return undefined;
  }

  /** With the store away a restored endpoint keeps the identity of its record, until it can be asked for again. */
  async #identityOf(endpoint: Endpoint): Promise<{ identity: Identity; certain: boolean }> {
    const restored = endpoint.identityFor === undefined ? endpoint.identity : undefined;
    const { labelFilter: filter, store } = this.#deps;
    try {
      return { identity: await identityOfLabels(endpoint.labels, { filter, store }), certain: true };
    } catch (error) {
      if (restored === undefined) throw error;
      endpoint.note(`Identity could not be confirmed: ${errorText(error)}`, 'Failed');
      return { identity: restored, certain: false };
    }
  }

  async #applyPolicy(endpoint: Endpoint): Promise<void> {
    const { datapath, policy } = this.#deps;
    if (endpoint.identity === undefined || endpoint.isEnding) return;
    await this.#deps.gate.prepare();
    const before = endpoint.kernelState ?? (await datapath.readPolicy(endpoint.id));
    endpoint.attempted = policy.order.sequence;
    const identity = this.#identityNow(endpoint, endpoint.identity);
    endpoint.awaitsName = identity !== endpoint.identity;
    if (identity === undefined) {
      await this.#waitClosed(endpoint);
      return;
    }
    if (!endpoint.awaitsName)
      endpoint.moveTo('regenerating', `Regenerating endpoint: ${endpoint.reasons.join(', ')}`);
    const desired = await this.#resolve(endpoint, identity);
    endpoint.desired = desired;
    if (desired === undefined) await this.#keepWhatIsEnforced(endpoint, before);
    else await this.#write(endpoint, before, desired);
  }

  /** Whose policy it has to have now; undefined: it is new, and nobody's until its identity may be named. */
  #identityNow(endpoint: Endpoint, wanted: Identity): Identity | undefined {
    const { policy } = this.#deps;
    const { inForce } = endpoint;
    if (inForce?.id === wanted.id || policy.mayName(wanted.id)) return wanted;
    // Nothing is enforced by the rules, so nothing is named.
    return policy.lost === undefined ? inForce : wanted;
  }

  async #waitClosed(endpoint: Endpoint): Promise<void> {
    if (endpoint.opened) await this.#deps.datapath.lockEndpoint(endpoint.id);
    endpoint.kernelEnforcement = undefined;
    endpoint.note(`Waits until every policy map knows identity ${endpoint.identity?.id}`);
    this.#deps.policy.order.written(endpoint.id, endpoint.attempted);
  }

  /** @throws what resolving threw, or SystemError ENDPOINT_LOCK when the endpoint could not be locked down either */
  async #resolve(endpoint: Endpoint, identity: Identity): Promise<EndpointPolicy | undefined> {
    try {
      return this.#deps.policy.resolve(identity, endpoint.spec.namedPorts);
    } catch (error) {
      endpoint.desired = undefined;
      await this.#lockDown(endpoint, identity, error);
      throw error;
    }
  }

  /** Nothing passes from now on, also not on flows that were allowed. */
  async #lockDown(endpoint: Endpoint, identity: Identity, reason: unknown): Promise<void> {
    endpoint.kernelState = undefined;
    endpoint.kernelEnforcement = undefined;
    endpoint.realized = undefined;
    try {
      await this.#deps.datapath.applyPolicy(endpoint.id, EMPTY_MAP_STATE, LOCKED_DOWN);
    } catch (cause) {
      throw new SystemError(
        `the policy of endpoint ${endpoint.id} could not be worked out (${errorText(reason)}), nor the endpoint locked down: ${errorText(cause)}`,
        { code: 'ENDPOINT_LOCK', cause },
      );
    }
    this.#deps.policy.order.written(endpoint.id, endpoint.attempted);
    endpoint.kernelState = EMPTY_MAP_STATE;
    endpoint.kernelEnforcement = LOCKED_DOWN;
    endpoint.redirects = NO_REDIRECTS;
    endpoint.realized = { revision: this.#deps.policy.revision, policy: lockedPolicy(identity) };
    endpoint.note('Its policy cannot be worked out: nothing passes until it can', 'Failed');
  }

  /** @throws SystemError code PROXY_LATE or POLICY_CONFLICT, with what that leaves open in force */
  async #write(endpoint: Endpoint, before: MapState, desired: EndpointPolicy): Promise<void> {
    const { policy } = desired;
    const judged = await this.#deps.gate.open(policy);
    const mapState = judged ? policy.mapState : this.#withoutProxy(policy.mapState);
    try {
      await this.#writeMap(endpoint, before, { ...policy, mapState });
    } catch (error) {
      // What is in force then is the lock.
      if (error instanceof PolicyWriteError)
        endpoint.realized = { ...desired, policy: lockedPolicy(policy.subject) };
      throw error;
    }
    if (policy.conflict !== undefined) endpoint.realized = desired;
    if (!judged)
      throw new SystemError('the proxy has not taken the policy over yet: what it has to judge is dropped', {
        code: 'PROXY_LATE',
      });
    if (policy.conflict !== undefined)
      throw new SystemError(`the rules contradict each other, nothing passes: ${policy.conflict}`, {
        code: 'POLICY_CONFLICT',
      });
  }

  /** @throws SystemError ENDPOINT_LOCKED when it was closed for a change that this policy does not hold */
  async #writeMap(endpoint: Endpoint, before: MapState, policy: ResolvedPolicy): Promise<void> {
    const { mapState, enforcement, subject } = policy;
    const { order } = this.#deps.policy;
    const { attempted } = endpoint;
    const known = endpoint.kernelEnforcement;
    const same = known?.ingress === enforcement.ingress && known.egress === enforcement.egress;
    const after = this.#redirectsIn(mapState);
    if (before !== mapState || !same || endpoint.datapathIdentity !== subject.id) {
      endpoint.kernelState = undefined;
      endpoint.kernelEnforcement = undefined;
      endpoint.redirects = eitherRedirects(this.#redirectsIn(before), after);
      if (!order.mayOpen(endpoint.id, attempted)) throw closedMeanwhile(endpoint.id);
      endpoint.opened = true;
      const { closings } = endpoint;
      await this.#deps.datapath.applyPolicy(endpoint.id, mapState, { ...enforcement, identity: subject.id });
      endpoint.datapathIdentity = subject.id;
      // It may have been closed since it was written, also for a change that this holds.
      if (endpoint.closings !== closings || !order.mayOpen(endpoint.id, attempted))
        throw closedMeanwhile(endpoint.id);
    }
    endpoint.redirects = after;
    endpoint.kernelState = mapState;
    endpoint.kernelEnforcement = enforcement;
    const previous = endpoint.inForce;
    endpoint.inForce = subject;
    order.written(endpoint.id, attempted);
    if (previous !== undefined && previous.id !== subject.id) this.#deps.onSwitched(previous.id);
  }

  /** The rules are lost: an endpoint that was enforced before stays as it is, a new one is locked down. */
  async #keepWhatIsEnforced(endpoint: Endpoint, before: MapState): Promise<void> {
    if (before.size === 0) {
      await this.#deps.datapath.applyPolicy(endpoint.id, before, LOCKED_DOWN);
    }
    endpoint.kernelState = before;
    this.#deps.policy.order.written(endpoint.id, endpoint.attempted);
    endpoint.note('The rules are lost: the policy in the datapath stays until rules are imported', 'Failed');
  }

  #succeeded(endpoint: Endpoint, reasons: readonly string[]): void {
    endpoint.builds++;
    endpoint.failure = undefined;
    endpoint.moveTo('ready', `Successfully regenerated endpoint (Reason: ${reasons.join(', ')})`);
    const labels = formatLabels(endpoint.labels);
    this.#deps.emit(agentEvent(AgentEventType.endpointRegenerated, { id: endpoint.id, labels }));
  }

  #failed(endpoint: Endpoint, error: unknown): void {
    if (endpoint.isEnding) return;
    const text = errorText(error);
    endpoint.failure = text;
    if (endpoint.state === 'regenerating')
      endpoint.moveTo('not-ready', `Regeneration failed: ${text}`, 'Failed');
    else endpoint.note(`Regeneration failed: ${text}`, 'Failed');
    const labels = formatLabels(endpoint.labels);
    this.#deps.emit(
      agentEvent(AgentEventType.endpointRegenerationFailed, { id: endpoint.id, labels, error: text }),
    );
    this.#deps.log.warn({ endpoint: endpoint.id, error: text }, 'endpoint regeneration failed');
  }
}
