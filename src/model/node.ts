/** Label of a node that says where it stands, as of its object in Kubernetes. */
export const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** A node of the cluster as its peers see it. Addresses are in text form. */
export interface ClusterNode {
  readonly name: string;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  /** Ranges of its endpoints, `10.0.1.0/24`. */
  readonly ipv4AllocRange: string | undefined;
  readonly ipv6AllocRange: string | undefined;
  readonly ipv4HealthIp: string | undefined;
  readonly ipv6HealthIp: string | undefined;
  /** Labels of the node, as of its object in Kubernetes; default none. */
  readonly labels?: Readonly<Record<string, string>>;
}
