import type { IpBytes, IpFamily } from '../base/ip.ts';
import type { Label } from './labels.ts';
import type { LabelSelector } from './selector.ts';
import type { ServiceProtocol } from './service.ts';

/** A port of a Service. */
export interface ServicePort {
  /** Empty where it has none. */
  readonly name: string;
  readonly protocol: ServiceProtocol;
  /** 1..65535 */
  readonly port: number;
  /** Port of its pods, or the name that they gave it. */
  readonly target: number | string;
  /** Of every node; 0: none. */
  readonly nodePort: number;
}

/** Where clients reach a Service. */
export interface ServiceListen {
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  readonly clusterIps: readonly IpBytes[];
  readonly externalIps: readonly IpBytes[];
  readonly loadBalancerIps: readonly IpBytes[];
  /** Families in which nodes answer on its node ports. */
  readonly families: readonly IpFamily[];
  /** One at least. */
  readonly ports: readonly ServicePort[];
  /** 0: clients do not keep their backends. */
  readonly affinitySeconds: number;
  /** What goes to its cluster addresses stays on the node of the client. */
  readonly onlyLocal: boolean;
}

/** A Service (v1), as far as `toServices` and the balancing of services need it. */
export interface ServiceObject {
  readonly name: string;
  readonly namespace: string;
  /** Source `k8s`. */
  readonly labels: readonly Label[];
  /** Which pods of its namespace serve it; undefined: none, its addresses are in Endpoints or EndpointSlices. */
  readonly selector: LabelSelector | undefined;
  /** Undefined for one that is only a name: headless, ExternalName, or without ports. */
  readonly listen?: ServiceListen | undefined;
}

export interface EndpointPort {
  /** That of the service's port. */
  readonly name: string;
  readonly protocol: ServiceProtocol;
  /** 1..65535 */
  readonly port: number;
}

/** An address of a service. */
export interface ServiceEndpoint {
  readonly address: IpBytes;
  readonly state: 'active' | 'terminating';
  /** Whether it still could take new flows, where no other can. Default: if it is active. */
  readonly serving?: boolean | undefined;
  /** Name of its node, where that is said. */
  readonly node?: string | undefined;
}

/** Addresses that all have the same ports. */
export interface EndpointGroup {
  readonly endpoints: readonly ServiceEndpoint[];
  readonly ports: readonly EndpointPort[];
}

/** The addresses of an Endpoints (v1) or an EndpointSlice (discovery.k8s.io/v1) object. */
export interface ServiceAddresses {
  /** Name of the object; a service has one Endpoints object and any number of slices. */
  readonly name: string;
  readonly namespace: string;
  readonly kind: 'endpoints' | 'slice';
  /** Name of the service, in the same namespace. */
  readonly service: string;
  /** Those that are ready: what the service stands for in rules. */
  readonly addresses: readonly IpBytes[];
  /** The same and those that terminate, with their ports; default none. */
  readonly groups?: readonly EndpointGroup[] | undefined;
}
