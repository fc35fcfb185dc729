import type { IpBytes } from '../base/ip.ts';
import { BackendState as StateNumber, ServiceType as TypeNumber } from '../model/constants.gen.ts';
import type {
  BackendState,
  ServiceBackend,
  ServiceFrontend,
  ServiceProtocol,
  ServiceType,
} from '../model/service.ts';
import { backendEntryLayout, serviceEntryLayout, serviceKeyLayout } from './map-layouts.ts';

/** IANA protocol numbers. */
const PROTOCOLS: Readonly<Record<ServiceProtocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

const STATES: Readonly<Record<BackendState, number>> = {
  active: StateNumber.active,
  terminating: StateNumber.terminating,
  quarantined: StateNumber.quarantined,
  maintenance: StateNumber.maintenance,
};

const TYPES: Readonly<Record<ServiceType, number>> = {
  ClusterIP: TypeNumber.clusterIp,
  NodePort: TypeNumber.nodePort,
  ExternalIPs: TypeNumber.externalIps,
  LoadBalancer: TypeNumber.loadBalancer,
  HostPort: TypeNumber.hostPort,
};

function keyOf<K extends string>(numbers: Readonly<Record<K, number>>, number: number, otherwise: K): K {
  return (Object.keys(numbers) as K[]).find((key) => numbers[key] === number) ?? otherwise;
}

function familyOf(address: IpBytes): 4 | 6 {
  return address.length === 4 ? 4 : 6;
}

function addressOf(bytes: Uint8Array, family: number): IpBytes {
  return bytes.subarray(0, family === 4 ? 4 : 16);
}

/** `struct service_key`. @param slot 0: the frontend itself, 1 and on: its active backends */
export function encodeServiceKey({ address, port, protocol }: ServiceFrontend, slot: number): Buffer {
  return serviceKeyLayout.encode({
    ...{ address, port, slot, protocol: PROTOCOLS[protocol] },
    family: familyOf(address),
  });
}

/** What a frontend's key says. */
export interface ServiceSlot {
  readonly frontend: ServiceFrontend;
  readonly slot: number;
}

export function decodeServiceKey(buffer: Uint8Array, offset = 0): ServiceSlot {
  const { address, port, slot, protocol, family } = serviceKeyLayout.decode(buffer, offset);
  return {
    frontend: { address: addressOf(address, family), port, protocol: keyOf(PROTOCOLS, protocol, 'TCP') },
    slot,
  };
}

/** Slot 0 of a service. */
export interface ServiceHead {
  readonly id: number;
  readonly type: ServiceType;
  readonly count: number;
  readonly affinitySeconds: number;
}

/** `struct service_entry` of slot 0. */
export function encodeServiceHead({ id, type, count, affinitySeconds }: ServiceHead): Buffer {
  return serviceEntryLayout.encode({ id, count, affinity: affinitySeconds, type: TYPES[type] });
}

/** `struct service_entry` of another slot. @param id of the service */
export function encodeServiceSlot(id: number, backend: number): Buffer {
  return serviceEntryLayout.encode({ id, backend });
}

/** Slot 0 has the head's fields, the others `backend`. */
export function decodeServiceEntry(
  buffer: Uint8Array,
  offset = 0,
): ServiceHead & { readonly backend: number } {
  const { id, type, count, affinity, backend } = serviceEntryLayout.decode(buffer, offset);
  return { id, type: keyOf(TYPES, type, 'ClusterIP'), count, affinitySeconds: affinity, backend };
}

/** `struct backend_entry`. */
export function encodeBackend({ address, port, state }: ServiceBackend, protocol: ServiceProtocol): Buffer {
  return backendEntryLayout.encode({
    ...{ address, port, protocol: PROTOCOLS[protocol], family: familyOf(address) },
    state: STATES[state],
  });
}

export function decodeBackend(
  buffer: Uint8Array,
  offset = 0,
): ServiceBackend & { readonly protocol: ServiceProtocol } {
  const { address, port, protocol, family, state } = backendEntryLayout.decode(buffer, offset);
  return {
    address: addressOf(address, family),
    port,
    protocol: keyOf(PROTOCOLS, protocol, 'TCP'),
    state: keyOf(STATES, state, 'active'),
  };
}
