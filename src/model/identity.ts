import type { Label } from './labels.ts';

/** Cluster-wide number of one label set. 0 is unknown: no rule selects it. */
export type NumericIdentity = number;

/** Reserved identities with the numbers of Cilium 1.19, which tools and people know. */
export const ReservedIdentity = {
  unknown: 0,
  host: 1,
  world: 2,
  unmanaged: 3,
  health: 4,
  init: 5,
  remoteNode: 6,
  kubeApiserver: 7,
  ingress: 8,
  worldIpv4: 9,
  worldIpv6: 10,
} as const;

/** Range in which identities of label sets are allocated. */
export const MIN_ALLOCATED_IDENTITY = 256;
export const MAX_ALLOCATED_IDENTITY = 65535;

export interface Identity {
  readonly id: NumericIdentity;
  /** Sorted by `source:key`. */
  readonly labels: readonly Label[];
}
