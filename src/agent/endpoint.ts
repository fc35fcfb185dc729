import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { Label } from '../model/labels.ts';
import type { MapState } from '../model/map-state.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { PolicyEnforcement, ResolvedPolicy } from '../policy/index.ts';
import { type EndpointState, EndpointStateError, mayFollow } from './endpoint-state.ts';
import { NO_REDIRECTS, type Redirects } from './redirects.ts';
import { StatusLog } from './status-log.ts';

/** What an endpoint is made of; fixed for its life. Addresses and MACs are in text form. */
export interface EndpointSpec {
  /** 1..65535, local to the node. */
  readonly id: number;
  /** Host side of the veth pair. */
  readonly interfaceName: string;
  readonly interfaceIndex: number;
  /** MAC of the container side. */
  readonly mac: string;
  readonly hostMac: string;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly containerId: string | undefined;
  readonly containerName: string | undefined;
  readonly containerInterfaceName: string | undefined;
  readonly netnsPath: string | undefined;
  readonly dockerEndpointId: string | undefined;
  readonly dockerNetworkId: string | undefined;
  readonly k8sPodName: string | undefined;
  readonly k8sNamespace: string | undefined;
  /** Ports that rules may name. */
  readonly namedPorts: readonly NamedPort[];
}

/** Of an endpoint whose container is not known, or that has none. */
export const NO_CONTAINER = {
  containerId: undefined,
  containerName: undefined,
  containerInterfaceName: undefined,
  netnsPath: undefined,
  dockerEndpointId: undefined,
  dockerNetworkId: undefined,
  k8sPodName: undefined,
  k8sNamespace: undefined,
  namedPorts: [],
} satisfies Partial<EndpointSpec>;

/** A policy as it was computed for, or is enforced at, an endpoint. */
export interface EndpointPolicy {
  /** Of the rule set. */
  readonly revision: number;
  readonly policy: ResolvedPolicy;
}

export interface EndpointInit {
  readonly spec: EndpointSpec;
  readonly labels: readonly Label[];
  readonly options?: Readonly<Record<string, string>>;
  readonly state: 'creating' | 'restoring';
  readonly now: () => Date;
}

/** One endpoint of this node: its facts, its state machine and its log. What is done to it is decided elsewhere. */
export class Endpoint {
  readonly spec: EndpointSpec;
  readonly log = new StatusLog();
  readonly createdAt: Date;
  readonly #now: () => Date;
  #state: EndpointState;
  labels: readonly Label[];
  options: Readonly<Record<string, string>>;
  identity: Identity | undefined;
  /** The labels that `identity` was settled for; other ones in `labels` mean that it has to be settled anew. */
  identityFor: readonly Label[] | undefined;
  /** What the rules ask for; undefined before the first computation. */
  desired: EndpointPolicy | undefined;
  /** What is in force, on the addresses of its peers too; undefined before the first successful regeneration. */
  realized: EndpointPolicy | undefined;
  /** What the kernel's policy map holds; undefined when that is not known, and then it is read before the next change. */
  kernelState: MapState | undefined;
  /** The directions that the datapath enforces for it; undefined when that is not known. */
  kernelEnforcement: PolicyEnforcement | undefined;
  /** How often it was closed for a change: what was written before the last time may be locked since. */
  closings = 0;
  /** Which of its flows the datapath may send to the proxy; undefined when that is not known. */
  redirects: Redirects | undefined = NO_REDIRECTS;
  /** The identity that the datapath has for it; undefined before it is attached. */
  datapathIdentity: NumericIdentity | undefined;
  /** Whose policy the datapath enforces for it; undefined when nothing passes it yet, or nobody knows that identity. */
  inForce: Identity | undefined;
  /** Whether something may pass it, or might: it was given a policy since it was attached. */
  opened = false;
  /** Its identity may not be named yet: it stays what it was, or closed. */
  awaitsName = false;
  /** Number of the last change (`PolicyOrder`) that its map holds, or was to hold. */
  attempted = 0;
  /** Why it is regenerated. */
  reasons: readonly string[] = [];
  /** Successful regenerations since the agent started. */
  builds = 0;
  /** Why the last regeneration failed; undefined when it did not. */
  failure: string | undefined;

  constructor(init: EndpointInit) {
    this.spec = init.spec;
    this.labels = init.labels;
    this.options = init.options ?? {};
    this.#state = init.state;
    this.#now = init.now;
    this.createdAt = init.now();
    this.note(init.state === 'creating' ? 'Endpoint creation' : 'Restoring endpoint from previous agent');
  }

  get id(): number {
    return this.spec.id;
  }

  get state(): EndpointState {
    return this.#state;
  }

  get isEnding(): boolean {
    return this.#state === 'disconnecting' || this.#state === 'disconnected';
  }

  /**
   * Goes to another state and notes why. To the state it is in: only the note.
   * @throws EndpointStateError when the state cannot follow
   */
  moveTo(state: EndpointState, message: string, code: 'OK' | 'Failed' = 'OK'): void {
    if (state !== this.#state && !mayFollow(this.#state, state)) {
      throw new EndpointStateError(this.id, this.#state, state);
    }
    this.#state = state;
    this.note(message, code);
  }

  /** Whether its labels have to be looked up, because they changed or it was restored. */
  get needsIdentity(): boolean {
    return this.identity === undefined || this.identityFor !== this.labels;
  }

  /** Whether the datapath's programs are on its interface. */
  get attached(): boolean {
    return this.datapathIdentity !== undefined;
  }

  note(message: string, code: 'OK' | 'Failed' = 'OK'): void {
    this.log.add({ time: this.#now(), code, message, state: this.#state });
  }
}
