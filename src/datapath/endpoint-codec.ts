import { EndpointFlag } from '../model/constants.gen.ts';
import { endpointLayout } from './map-layouts.ts';
import type { PolicySide } from './policy-maps.ts';
import type { DatapathEndpoint, Enforcement } from './types.ts';

const FAMILY_V4 = 1;
const FAMILY_V6 = 2;

/** An endpoint's record in the endpoints map. */
export interface EndpointRecord {
  readonly endpoint: DatapathEndpoint;
  /** Attached, and everything it sends or is sent is dropped. */
  readonly locked: boolean;
  readonly enforcement: Enforcement;
  /** Which of the slot's two policy maps is in force. */
  readonly policySide: PolicySide;
  /** What its policy refuses is told, and passes. Default false. */
  readonly audit?: boolean;
}

/** `struct endpoint`. */
export function encodeEndpoint(record: EndpointRecord): Buffer {
  const { endpoint, locked, enforcement, policySide, audit = false } = record;
  const none = new Uint8Array();
  return endpointLayout.encode({
    id: endpoint.id,
    flags:
      (locked ? EndpointFlag.locked : 0) |
      (audit ? EndpointFlag.audit : 0) |
      (policySide === 1 ? EndpointFlag.policyB : 0) |
      (enforcement.ingress ? EndpointFlag.enforceIngress : 0) |
      (enforcement.egress ? EndpointFlag.enforceEgress : 0),
    identity: endpoint.identity,
    ifindex: endpoint.ifindex,
    ip4: endpoint.ipv4 ?? none,
    ip6: endpoint.ipv6 ?? none,
    mac: endpoint.mac,
    hostMac: endpoint.hostMac,
    families: (endpoint.ipv4 ? FAMILY_V4 : 0) | (endpoint.ipv6 ? FAMILY_V6 : 0),
    ifname: endpoint.ifname,
  });
}

/** @returns undefined when the slot is free */
export function decodeEndpoint(buffer: Uint8Array, offset = 0): EndpointRecord | undefined {
  const raw = endpointLayout.decode(buffer, offset);
  if (raw.id === 0) return undefined;
  return {
    endpoint: {
      id: raw.id,
      identity: raw.identity,
      ifindex: raw.ifindex,
      ifname: raw.ifname,
      mac: raw.mac,
      hostMac: raw.hostMac,
      ipv4: (raw.families & FAMILY_V4) !== 0 ? raw.ip4 : undefined,
      ipv6: (raw.families & FAMILY_V6) !== 0 ? raw.ip6 : undefined,
    },
    locked: (raw.flags & EndpointFlag.locked) !== 0,
    ...((raw.flags & EndpointFlag.audit) !== 0 && { audit: true }),
    policySide: (raw.flags & EndpointFlag.policyB) !== 0 ? 1 : 0,
    enforcement: {
      ingress: (raw.flags & EndpointFlag.enforceIngress) !== 0,
      egress: (raw.flags & EndpointFlag.enforceEgress) !== 0,
    },
  };
}
