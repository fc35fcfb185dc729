import type { NumericIdentity } from '../model/identity.ts';
import type { L7Filter, L7Peer, L7Policy, L7SubjectPolicy } from '../model/l7.ts';
import type { Direction } from '../model/map-state.ts';
import type { ProxyEndpoint } from '../model/proxy-protocol.ts';
import type { FlowEnd, FlowIdentities } from './types.ts';

/** Both ends of a flow, with identity and endpoint. */
export interface Flow {
  readonly client: L7Peer;
  readonly server: L7Peer;
  /** Identities whose policy has a say: those of ends of this node. */
  readonly subjects: {
    readonly client: NumericIdentity | undefined;
    readonly server: NumericIdentity | undefined;
  };
  /** How the ends that are endpoints of this node name their ports. */
  readonly portNames?:
    | { readonly client: string | undefined; readonly server: string | undefined }
    | undefined;
}

/** The filters of one subject and direction that match a flow's peer, protocol and port; the same object for the same ones. */
export interface DirectionView {
  readonly direction: Direction;
  readonly filters: readonly L7Filter[];
}

/** Views that one subject and direction keeps; peers and ports beyond start over. */
const MAX_VIEWS = 4096;

interface AskedView {
  /** Undefined: whoever it is, so that filters for any peer match. */
  readonly peer: NumericIdentity | undefined;
  readonly protocol: number;
  readonly port: number;
  /** How the subject's endpoint names its ports. */
  readonly portNames: string | undefined;
}

/** The filters of a subject's direction, looked up by peer, protocol and port. */
class DirectionFilters {
  readonly #direction: Direction;
  readonly #filters: readonly L7Filter[];
  readonly #views = new Map<string, DirectionView>();
  /** Whether filters are for some of the subject's endpoints only. */
  readonly #varies: boolean;
  /** By the filters' places, so that peers to which the same filters apply share what is compiled of them. */
  readonly #shared = new Map<string, DirectionView>();

  constructor(direction: Direction, filters: readonly L7Filter[]) {
    this.#direction = direction;
    this.#filters = filters;
    this.#varies = filters.some(({ portNames }) => portNames !== undefined);
  }

  view(asked: AskedView): DirectionView {
    const { peer, protocol, port, portNames } = asked;
    const names = this.#varies && portNames !== undefined ? `/${portNames}` : '';
    const key = `${peer ?? 'any'}/${protocol}/${port}${names}`;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    if (this.#views.size >= MAX_VIEWS) {
      this.#views.clear();
      this.#shared.clear();
    }
    const view = this.#make(asked);
    this.#views.set(key, view);
    return view;
  }

  #make({ peer, protocol, port, portNames }: AskedView): DirectionView {
    const filters: L7Filter[] = [];
    const places: number[] = [];
    this.#filters.forEach((filter, place) => {
      if (filter.protocol !== 0 && filter.protocol !== protocol) return;
      if (port < filter.firstPort || port > filter.lastPort) return;
      if (peer !== undefined && filter.peers !== undefined && !filter.peers.includes(peer)) return;
      if (
        filter.portNames !== undefined &&
        (portNames === undefined || !filter.portNames.includes(portNames))
      )
        return;
      filters.push(filter);
      places.push(place);
    });
    const key = places.join();
    const shared = this.#shared.get(key) ?? { direction: this.#direction, filters };
    this.#shared.set(key, shared);
    return shared;
  }
}

interface Subject {
  readonly ingress: DirectionFilters | undefined;
  readonly egress: DirectionFilters | undefined;
}

function compileSubject({ ingress, egress }: L7SubjectPolicy): Subject {
  return {
    ingress: ingress && new DirectionFilters('ingress', ingress),
    egress: egress && new DirectionFilters('egress', egress),
  };
}

/** The L7 policy in force: one object a policy message, so that holding the object is holding the generation. */
export class PolicyTable {
  readonly revision: number;
  readonly #subjects: ReadonlyMap<NumericIdentity, Subject>;
  readonly #endpoints = new Map<string, ProxyEndpoint>();

  constructor(policy: L7Policy, endpoints: readonly ProxyEndpoint[]) {
    this.revision = policy.revision;
    this.#subjects = new Map(policy.subjects.map((subject) => [subject.subject, compileSubject(subject)]));
    for (const endpoint of endpoints) {
      for (const address of endpoint.addresses) this.#endpoints.set(address, endpoint);
    }
  }

  /** The endpoint of this node that has the address. */
  endpointAt(address: string): ProxyEndpoint | undefined {
    return this.#endpoints.get(address);
  }

  /**
   * Ends of a flow with what is known of them. What the datapath judges the flow by at this moment counts: the agent tells
   * of a subject's policy before a policy map asks for it, and of its end after none does. While the datapath has yet to
   * judge the flow anew, an end of this node is what the agent told with this policy.
   */
  flow(client: FlowEnd, server: FlowEnd, identities: FlowIdentities): Flow {
    const exact = identities.holds?.() === true;
    const one = this.#end(client, identities.client, exact);
    const other = this.#end(server, identities.server, exact);
    const isLocal = (peer: L7Peer, told: boolean | undefined): boolean =>
      exact && told !== undefined ? told : told === true || peer.endpoint !== 0;
    return {
      client: one,
      server: other,
      subjects: {
        client: isLocal(one, identities.local?.client) ? one.identity : undefined,
        server: isLocal(other, identities.local?.server) ? other.identity : undefined,
      },
      portNames: {
        client: this.#endpoints.get(client.address)?.portNames,
        server: this.#endpoints.get(server.address)?.portNames,
      },
    };
  }

  #end({ address, port }: FlowEnd, told: NumericIdentity, exact: boolean): L7Peer {
    const local = this.#endpoints.get(address);
    const identity = exact ? told : (local?.identity ?? told);
    return { address, port, identity, endpoint: local?.endpoint ?? 0 };
  }

  /**
   * What must let a request of the flow through: the client's egress policy and the server's ingress policy, each where
   * that end is an endpoint of this node and its direction is judged at all. All of them must allow.
   * @param anyPeer that a peer which is no endpoint of this node may be anybody
   * @returns undefined when neither end is of this node: the request is nothing that this proxy can judge
   */
  views(
    { client, server, subjects, portNames }: Flow,
    protocol: number,
    anyPeer = false,
  ): readonly DirectionView[] | undefined {
    if (subjects.client === undefined && subjects.server === undefined) return undefined;
    const egress = subjects.client === undefined ? undefined : this.#subjects.get(subjects.client)?.egress;
    const ingress = subjects.server === undefined ? undefined : this.#subjects.get(subjects.server)?.ingress;
    const { port } = server;
    const [from, to] = (['client', 'server'] as const).map((end) =>
      anyPeer && subjects[end] === undefined ? undefined : { client, server }[end].identity,
    );
    const views: DirectionView[] = [];
    if (egress !== undefined)
      views.push(egress.view({ peer: to, protocol, port, portNames: portNames?.client }));
    if (ingress !== undefined)
      views.push(ingress.view({ peer: from, protocol, port, portNames: portNames?.server }));
    return views;
  }
}
