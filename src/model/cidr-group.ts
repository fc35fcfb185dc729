import type { Cidr } from '../base/ip.ts';
import type { Label } from './labels.ts';

/** A CiliumCIDRGroup: prefixes that rules name by `cidrGroupRef`, or pick by the group's labels. Cluster-wide. */
export interface CidrGroup {
  readonly name: string;
  /** Source `cidrgroup`, as the selectors of `cidrGroupSelector` have it. */
  readonly labels: readonly Label[];
  /** Host bits zero; each prefix once. */
  readonly cidrs: readonly Cidr[];
}
