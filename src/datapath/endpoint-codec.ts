import { EndpointFlag } from '../model/constants.gen.ts';
import { endpointLayout } from './map-layouts.ts';
import type { DatapathEndpoint, Enforcement } from './types.ts';

const FAMILY_V4 = 1;
const FAMILY_V6 = 2;

/** In a record: no policy map, which lets nothing pass. */
export const NO_POLICY = 0xffff;

/** The policy maps that a record names, by their indices in the outer map. */
export interface PolicyPlaces {
  readonly policies: readonly [number, number];
  /** Which of them is in force. */
  readonly inForce: 0 | 1;
}

export const NO_POLICIES: PolicyPlaces = { policies: [NO_POLICY, NO_POLICY], inForce: 0 };

/** Puts a policy map in force: in the place that is not, unless it is in one of them already. */
export function placePolicy({ policies, inForce }: PolicyPlaces, index: number): PolicyPlaces {
  if (policies[inForce] === index) return { policies, inForce };
  if (inForce === 0) return { policies: policies[1] === index ? policies : [policies[0], index], inForce: 1 };
  return { policies: policies[0] === index ? policies : [index, policies[1]], inForce: 0 };
}

/** An endpoint's record in the endpoints map. */
export interface EndpointRecord extends PolicyPlaces {
  readonly endpoint: DatapathEndpoint;
  /** Attached, and everything it sends or is sent is dropped. */
  readonly locked: boolean;
  readonly enforcement: Enforcement;
  /** What its policy refuses is told, and passes. Default false. */
  readonly audit?: boolean;
}

function flagsOf({ locked, enforcement, inForce, audit = false }: EndpointRecord): number {
  return (
    (locked ? EndpointFlag.locked : 0) |
    (audit ? EndpointFlag.audit : 0) |
    (inForce === 1 ? EndpointFlag.policyB : 0) |
    (enforcement.ingress ? EndpointFlag.enforceIngress : 0) |
    (enforcement.egress ? EndpointFlag.enforceEgress : 0)
  );
}

/** `struct endpoint`. */
export function encodeEndpoint(record: EndpointRecord): Buffer {
  const { endpoint, policies } = record;
  const none = new Uint8Array();
  return endpointLayout.encode({
    id: endpoint.id,
    flags: flagsOf(record),
    families: (endpoint.ipv4 ? FAMILY_V4 : 0) | (endpoint.ipv6 ? FAMILY_V6 : 0),
    policy: policies,
    identity: endpoint.identity,
    ifindex: endpoint.ifindex,
    ip4: endpoint.ipv4 ?? none,
    ip6: endpoint.ipv6 ?? none,
    mac: endpoint.mac,
    hostMac: endpoint.hostMac,
    ifname: endpoint.ifname,
  });
}

/** Encodes many records of the same endpoints, of which little changes: one `endpoint` object is encoded once. */
export class EndpointEncoder {
  readonly #encoded = new WeakMap<DatapathEndpoint, Buffer>();

  /** Records one after the other. */
  encode(records: readonly EndpointRecord[]): Buffer {
    const { bytes, fields } = endpointLayout;
    const all = Buffer.alloc(bytes * records.length);
    const view = new DataView(all.buffer, all.byteOffset, all.length);
    for (const [i, record] of records.entries()) {
      all.set(this.#encodedOf(record), i * bytes);
      fields.flags[1].write(view, i * bytes + fields.flags[0], flagsOf(record));
      fields.policy[1].write(view, i * bytes + fields.policy[0], record.policies);
    }
    return all;
  }

  #encodedOf(record: EndpointRecord): Buffer {
    const known = this.#encoded.get(record.endpoint) ?? encodeEndpoint(record);
    this.#encoded.set(record.endpoint, known);
    return known;
  }
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
    policies: raw.policy,
    inForce: (raw.flags & EndpointFlag.policyB) !== 0 ? 1 : 0,
    enforcement: {
      ingress: (raw.flags & EndpointFlag.enforceIngress) !== 0,
      egress: (raw.flags & EndpointFlag.enforceEgress) !== 0,
    },
  };
}
