import { ApiError } from '../api/operations.ts';
import type * as Api from '../api/schema.ts';
import { parseIp } from '../base/ip.ts';
import type { ClusterNode } from '../model/node.ts';
import { type Allocation, type Ipam, IpamError } from './ipam.ts';

const STATUS = {
  outside: 400,
  'in-use': 409,
  exhausted: 502,
  'family-off': 501,
  'not-allocated': 404,
} as const;

/** Runs an IPAM call and answers its refusals with their status. @throws ApiError */
export function ipamCall<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    if (!(cause instanceof IpamError)) throw cause;
    throw new ApiError(STATUS[cause.kind], cause.message, { code: cause.code, hint: cause.hint, cause });
  }
}

/** POST /ipam: what was given, and the node's gateways. */
export function ipamAnswer(
  given: readonly Allocation[],
  ipam: Ipam,
  self: ClusterNode | undefined,
): Api.IPAMResponse {
  const of = (family: 4 | 6): Allocation | undefined =>
    given.find(({ ip }) => parseIp(ip).length === (family === 4 ? 4 : 16));
  const detail = (family: 4 | 6): Api.IPAMResponse['ipv4'] => {
    const allocation = of(family);
    return (
      allocation && {
        ip: allocation.ip,
        gateway: ipam.routerIp(family),
        ...(allocation.expirationUuid !== undefined && { 'expiration-uuid': allocation.expirationUuid }),
      }
    );
  };
  return {
    address: { ipv4: of(4)?.ip, ipv6: of(6)?.ip },
    ipv4: detail(4),
    ipv6: detail(6),
    'host-addressing': {
      ipv4: { enabled: ipam.enabled(4), ip: ipam.routerIp(4), 'alloc-range': self?.ipv4AllocRange },
      ipv6: { enabled: ipam.enabled(6), ip: ipam.routerIp(6), 'alloc-range': self?.ipv6AllocRange },
    },
  };
}
