import { parseIp } from '../../base/ip.ts';
import type { Endpoint } from '../endpoint.ts';
import { addressesOf } from '../endpoint-addresses.ts';
import type { ServicePod } from './object-services.ts';

/** This node's endpoints as services select them: those that something may pass, or that are about to be so. */
export function ownPods(endpoints: readonly Endpoint[]): readonly ServicePod[] {
  return endpoints.flatMap((endpoint): ServicePod[] => {
    const { spec, isEnding, attached } = endpoint;
    // One that was restored may wait for its identity, and serves all the while.
    const labels = endpoint.identity?.labels ?? (attached ? endpoint.labels : undefined);
    if (labels === undefined || isEnding) return [];
    return [{ labels, addresses: addressesOf(spec).map(parseIp), namedPorts: spec.namedPorts, isOwn: true }];
  });
}
