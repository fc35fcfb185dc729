import type { IpBytes } from '../base/ip.ts';
import type { Label } from './labels.ts';
import type { LabelSelector } from './selector.ts';

/** A Service (v1), as far as `toServices` needs it. */
export interface ServiceObject {
  readonly name: string;
  readonly namespace: string;
  /** Source `k8s`. */
  readonly labels: readonly Label[];
  /** Which pods of its namespace serve it; undefined: none, its addresses are in Endpoints or EndpointSlices. */
  readonly selector: LabelSelector | undefined;
}

/** The addresses of an Endpoints (v1) or an EndpointSlice (discovery.k8s.io/v1) object. */
export interface ServiceAddresses {
  /** Name of the object; a service has one Endpoints object and any number of slices. */
  readonly name: string;
  readonly namespace: string;
  readonly kind: 'endpoints' | 'slice';
  /** Name of the service, in the same namespace. */
  readonly service: string;
  readonly addresses: readonly IpBytes[];
}
