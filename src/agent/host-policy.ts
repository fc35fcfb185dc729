import { isDeepStrictEqual } from 'node:util';
import { errorText, SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Datapath } from '../datapath/types.ts';
import { type NumericIdentity, ReservedIdentity } from '../model/identity.ts';
import { type Label, labelSet } from '../model/labels.ts';
import { EMPTY_MAP_STATE } from '../model/map-state.ts';
import { sameMapState } from '../model/map-state-diff.ts';
import { matchesSelector } from '../model/selector.ts';
import type { Controllers } from './controllers.ts';
import { Endpoint, type EndpointSpec, NO_CONTAINER } from './endpoint.ts';
import { HOST_ENDPOINT_ID, HOST_OPTIONS, normaliseOptions } from './endpoint-request.ts';
import type { PolicyManager } from './policy-manager.ts';

export interface HostPolicyDeps {
  readonly datapath: Pick<Datapath, 'kind' | 'applyHostPolicy' | 'removeHostPolicy' | 'readHostPolicy'>;
  readonly policy: Pick<
    PolicyManager,
    'resolve' | 'forget' | 'order' | 'rules' | 'mode' | 'revision' | 'lost'
  >;
  readonly controllers: Controllers;
  readonly log: Logger;
  readonly now: () => Date;
}

export interface HostPolicyOptions {
  /** Labels of this node, source `k8s`. */
  readonly labels: readonly Label[];
  /** What the policy refuses is told, and passes. */
  readonly audit: boolean;
}

/** The option of the node's endpoint by which what its policy refuses only is told. */
const AUDIT = 'PolicyAuditMode';

const SPEC: EndpointSpec = {
  id: HOST_ENDPOINT_ID,
  interfaceName: '',
  interfaceIndex: 0,
  mac: '',
  hostMac: '',
  ipv4: undefined,
  ipv6: undefined,
  ...NO_CONTAINER,
};

/**
 * The policy of the node itself. There is an endpoint for it as long as a rule with `nodeSelector` selects the node's
 * labels; else nothing of the node's own is judged. Since nobody could come and mend it, the node is never locked: a policy
 * that contradicts itself, is too large or cannot be written leaves the one before in force, and the endpoint says so.
 */
export class HostPolicyPart {
  readonly #deps: HostPolicyDeps;
  readonly #labels: readonly Label[];
  readonly #apply: { trigger(): Promise<void> };
  #audit: boolean;
  #endpoint: Endpoint | undefined;
  #started = false;
  /** The rules and the mode that the node was last looked for in. */
  #seen = '';

  constructor({ labels, audit }: HostPolicyOptions, deps: HostPolicyDeps) {
    this.#deps = deps;
    this.#labels = labelSet([...labels, { source: 'reserved', key: 'host', value: '' }]);
    this.#audit = audit;
    this.#apply = deps.controllers.add({ name: 'host-policy', run: () => this.#run() });
  }

  /** The node as an endpoint; undefined while no rule selects it. */
  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  /** Its number, where a change of one of these subjects is one of its policy. */
  idsOf(subjects: ReadonlySet<NumericIdentity>): readonly number[] {
    return this.#endpoint !== undefined && subjects.has(ReservedIdentity.host) ? [HOST_ENDPOINT_ID] : [];
  }

  /** Rules, and what they depend on, are known: takes over what an earlier agent left in force. */
  async start(): Promise<void> {
    this.#started = true;
    const held = await this.#deps.datapath.readHostPolicy();
    // Whoever had turned it on must not be cut off by a restart.
    if (held?.audit === true) this.#audit = true;
    await this.#apply.trigger().catch(() => undefined);
  }

  onPolicyChange(touched: ReadonlySet<NumericIdentity>): void {
    const { revision, mode } = this.#deps.policy;
    const moved = this.#seen !== `${revision} ${mode}`;
    if (this.#started && (moved || touched.has(ReservedIdentity.host))) void this.#apply.trigger();
  }

  /** @throws ApiError 400 naming the option */
  patchOptions(options: Readonly<Record<string, string>>): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return;
    endpoint.options = { ...endpoint.options, ...normaliseOptions(options, HOST_OPTIONS) };
    this.#audit = endpoint.options[AUDIT] === 'Enabled';
    endpoint.note(`Options changed: ${AUDIT}=${endpoint.options[AUDIT]}`);
    void this.#apply.trigger();
  }

  #isSelected(): boolean {
    const { policy } = this.#deps;
    if (policy.mode === 'never') return false;
    return policy
      .rules([])
      .some(({ rule }) => rule.subjectKind === 'node' && matchesSelector(rule.subject, this.#labels));
  }

  async #run(): Promise<void> {
    const { order, revision, mode, lost } = this.#deps.policy;
    const { sequence } = order;
    if (lost !== undefined) return this.#showHeld(sequence);
    this.#seen = `${revision} ${mode}`;
    try {
      await (this.#isSelected() ? this.#enforce() : this.#release());
      if (this.#endpoint !== undefined) order.written(HOST_ENDPOINT_ID, sequence);
    } catch (error) {
      this.#failed(errorText(error));
      order.failed(HOST_ENDPOINT_ID, sequence);
      throw error;
    }
  }

  /** Rules that are lost select nobody, and take nothing off: what an earlier agent left stays, and is shown. */
  async #showHeld(sequence: number): Promise<void> {
    const held = await this.#deps.datapath.readHostPolicy();
    if (held === undefined) return;
    const isNew = this.#endpoint === undefined;
    const endpoint = isNew ? this.#begin() : this.#endpoint;
    if (endpoint === undefined) return;
    endpoint.kernelState = held.state;
    if (isNew) this.#failed('the rules are lost: the policy in the datapath stays until rules are imported');
    this.#deps.policy.order.written(HOST_ENDPOINT_ID, sequence);
  }

  #failed(text: string): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return;
    endpoint.failure = text;
    if (endpoint.state === 'regenerating')
      endpoint.moveTo('not-ready', `Regeneration failed: ${text}`, 'Failed');
    else endpoint.note(`Regeneration failed: ${text}`, 'Failed');
  }

  async #release(): Promise<void> {
    const { datapath, policy, log } = this.#deps;
    policy.forget(ReservedIdentity.host);
    if ((await datapath.readHostPolicy()) !== undefined) {
      await datapath.removeHostPolicy();
      log.info({}, 'no rule selects this node any more: nothing of its own is judged');
    }
    if (this.#endpoint === undefined) return;
    this.#endpoint = undefined;
    policy.order.forget(HOST_ENDPOINT_ID);
  }

  get #identity(): { readonly id: NumericIdentity; readonly labels: readonly Label[] } {
    return { id: ReservedIdentity.host, labels: this.#labels };
  }

  async #enforce(): Promise<void> {
    const { datapath, policy } = this.#deps;
    const endpoint = this.#begin();
    const desired = policy.resolve(this.#identity);
    if (desired === undefined)
      throw new SystemError('the rules are lost: the policy of the node stays as it is', {
        code: 'RULES_LOST',
      });
    endpoint.desired = desired;
    const { mapState, enforcement, conflict, overflow } = desired.policy;
    if (conflict !== undefined || overflow)
      throw new SystemError(
        `the policy of the node is not put in force, the one before stays: ${conflict ?? 'it has too many entries'}`,
        { code: conflict === undefined ? 'POLICY_OVERFLOW' : 'POLICY_CONFLICT' },
      );
    const held = await datapath.readHostPolicy();
    const wanted = { id: HOST_ENDPOINT_ID, ...enforcement, audit: this.#audit };
    const { state, ...now } = held ?? { state: EMPTY_MAP_STATE };
    if (!sameMapState(state, mapState) || !isDeepStrictEqual(now, wanted))
      await datapath.applyHostPolicy(mapState, wanted);
    endpoint.realized = desired;
    endpoint.kernelState = mapState;
    endpoint.failure = undefined;
    endpoint.builds++;
    endpoint.moveTo('ready', 'Successfully regenerated endpoint (Reason: policy of the node)');
  }

  #begin(): Endpoint {
    const endpoint = this.#endpoint ?? this.#create();
    this.#endpoint = endpoint;
    endpoint.options = { ...endpoint.options, [AUDIT]: this.#audit ? 'Enabled' : 'Disabled' };
    if (endpoint.state === 'creating') endpoint.moveTo('waiting-for-identity', 'Set identity 1');
    endpoint.moveTo('waiting-to-regenerate', 'Triggering regeneration: policy of the node');
    endpoint.moveTo('regenerating', 'Regenerating endpoint: policy of the node');
    return endpoint;
  }

  #create(): Endpoint {
    const endpoint = new Endpoint({
      spec: SPEC,
      labels: this.#labels,
      state: 'creating',
      now: this.#deps.now,
    });
    endpoint.identity = this.#identity;
    endpoint.identityFor = endpoint.labels;
    endpoint.datapathIdentity = ReservedIdentity.host;
    return endpoint;
  }
}
