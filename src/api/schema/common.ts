import { bool, known, list, type ModelOf, model, opt, str, u16 } from './build.ts';

/** Labels as texts, `source:key=value`. */
export const Labels = list(str, { title: 'Labels' });
export type Labels = ModelOf<typeof Labels>;

/** What every failed call answers: a bare JSON string. */
export const ErrorText = str;
export type ErrorText = string;

export const NodeAddressingElement = model('NodeAddressingElement', {
  enabled: opt(bool),
  ip: opt(str),
  'alloc-range': opt(str),
  'address-type': opt(str),
});
export type NodeAddressingElement = ModelOf<typeof NodeAddressingElement>;

export const NodeAddressing = model('NodeAddressing', {
  ipv6: opt(NodeAddressingElement),
  ipv4: opt(NodeAddressingElement),
});
export type NodeAddressing = ModelOf<typeof NodeAddressing>;

export const AddressPair = model('AddressPair', {
  ipv4: opt(str),
  'ipv4-expiration-uuid': opt(str),
  'ipv4-pool-name': opt(str),
  ipv6: opt(str),
  'ipv6-expiration-uuid': opt(str),
  'ipv6-pool-name': opt(str),
});
export type AddressPair = ModelOf<typeof AddressPair>;

export const Port = model('Port', {
  protocol: opt(known('TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPV6', 'ANY')),
  port: opt(u16),
  name: opt(str),
});
export type Port = ModelOf<typeof Port>;
