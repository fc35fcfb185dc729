import type { FieldTable } from './decoder.ts';

/**
 * Every field of the rule language, object by object. A field that is `refused` has a meaning that this version does
 * not carry out: taking the rule without it would allow or deny something else than its author wrote.
 */
export const DOCUMENT_FIELDS: FieldTable = {
  apiVersion: 'read',
  kind: 'read',
  metadata: 'read',
  spec: 'read',
  specs: 'read',
  description: 'read',
  status: 'ignored',
};

export const LIST_FIELDS: FieldTable = {
  apiVersion: 'read',
  kind: 'read',
  items: 'read',
  metadata: 'ignored',
};

export const METADATA_FIELDS: FieldTable = {
  name: 'read',
  namespace: 'read',
  annotations: 'ignored',
  creationTimestamp: 'ignored',
  deletionGracePeriodSeconds: 'ignored',
  deletionTimestamp: 'ignored',
  finalizers: 'ignored',
  generateName: 'ignored',
  generation: 'ignored',
  labels: 'ignored',
  managedFields: 'ignored',
  ownerReferences: 'ignored',
  resourceVersion: 'ignored',
  selfLink: 'ignored',
  uid: 'ignored',
};

export const RULE_FIELDS: FieldTable = {
  endpointSelector: 'read',
  ingress: 'read',
  egress: 'read',
  labels: 'read',
  description: 'read',
  nodeSelector: 'refused',
  ingressDeny: 'refused',
  egressDeny: 'refused',
  enableDefaultDeny: 'refused',
  log: 'refused',
};

const ITEM_FIELDS: FieldTable = {
  toPorts: 'read',
  icmps: 'refused',
  authentication: 'refused',
};

export const INGRESS_FIELDS: FieldTable = {
  ...ITEM_FIELDS,
  fromEndpoints: 'read',
  fromEntities: 'read',
  fromCIDR: 'refused',
  fromCIDRSet: 'refused',
  fromGroups: 'refused',
  fromNodes: 'refused',
  fromRequires: 'refused',
};

export const EGRESS_FIELDS: FieldTable = {
  ...ITEM_FIELDS,
  toEndpoints: 'read',
  toEntities: 'read',
  toCIDR: 'refused',
  toCIDRSet: 'refused',
  toFQDNs: 'refused',
  toGroups: 'refused',
  toNodes: 'refused',
  toRequires: 'refused',
  toServices: 'refused',
};

export const PORT_RULE_FIELDS: FieldTable = {
  ports: 'read',
  rules: 'refused',
  listener: 'refused',
  originatingTLS: 'refused',
  serverNames: 'refused',
  terminatingTLS: 'refused',
};

export const PORT_FIELDS: FieldTable = { port: 'read', endPort: 'read', protocol: 'read' };

export const SELECTOR_FIELDS: FieldTable = { matchLabels: 'read', matchExpressions: 'read' };

export const EXPRESSION_FIELDS: FieldTable = { key: 'read', operator: 'read', values: 'read' };

export const LABEL_FIELDS: FieldTable = { key: 'read', value: 'read', source: 'read' };
