import type { FieldTable } from './decoder.ts';

/**
 * Every field of the rule language, object by object. A field that is `refused` has a meaning that Ciliate does not
 * carry out: taking the rule without it would allow or deny something else than its author wrote.
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
  labels: 'read',
  managedFields: 'ignored',
  ownerReferences: 'ignored',
  resourceVersion: 'ignored',
  selfLink: 'ignored',
  uid: 'ignored',
};

export const RULE_FIELDS: FieldTable = {
  endpointSelector: 'read',
  nodeSelector: 'read',
  ingress: 'read',
  ingressDeny: 'read',
  egress: 'read',
  egressDeny: 'read',
  enableDefaultDeny: 'read',
  labels: 'read',
  description: 'read',
  log: 'read',
};

const GROUPS = {
  refused: 'groups of AWS are not looked up; name their prefixes by fromCIDRSet or toCIDRSet',
};

const INGRESS_DENY_FIELDS: FieldTable = {
  fromEndpoints: 'read',
  fromEntities: 'read',
  fromCIDR: 'read',
  fromCIDRSet: 'read',
  fromNodes: 'read',
  fromGroups: GROUPS,
  toPorts: 'read',
  icmps: 'read',
};

const EGRESS_DENY_FIELDS: FieldTable = {
  toEndpoints: 'read',
  toEntities: 'read',
  toCIDR: 'read',
  toCIDRSet: 'read',
  toNodes: 'read',
  toServices: 'read',
  toGroups: GROUPS,
  toPorts: 'read',
  icmps: 'read',
};

/** Fields of an item, by section. */
export const ITEM_FIELDS = {
  ingress: { ...INGRESS_DENY_FIELDS, fromRequires: 'read', authentication: 'read' },
  ingressDeny: INGRESS_DENY_FIELDS,
  egress: { ...EGRESS_DENY_FIELDS, toFQDNs: 'read', toRequires: 'read', authentication: 'read' },
  egressDeny: EGRESS_DENY_FIELDS,
} as const satisfies Readonly<Record<string, FieldTable>>;

const TLS = { refused: 'TLS is not opened on its way; judge such connections by their address or name' };

export const PORT_RULE_FIELDS: FieldTable = {
  ports: 'read',
  rules: 'read',
  serverNames: 'read',
  terminatingTLS: TLS,
  originatingTLS: TLS,
  listener: { refused: 'there is no Envoy that could have listeners' },
};

export const PORT_DENY_RULE_FIELDS: FieldTable = { ports: 'read' };

export const PORT_FIELDS: FieldTable = { port: 'read', endPort: 'read', protocol: 'read' };

export const L7_FIELDS: FieldTable = {
  http: 'read',
  dns: 'read',
  kafka: 'read',
  l7proto: 'read',
  l7: 'read',
};

export const HTTP_FIELDS: FieldTable = {
  path: 'read',
  method: 'read',
  host: 'read',
  headers: 'read',
  headerMatches: 'read',
};

export const HEADER_MATCH_FIELDS: FieldTable = {
  name: 'read',
  value: 'read',
  mismatch: 'read',
  secret: 'read',
};

export const SECRET_FIELDS: FieldTable = { name: 'read', namespace: 'read' };

export const KAFKA_FIELDS: FieldTable = {
  role: 'read',
  apiKey: 'read',
  apiVersion: 'read',
  clientID: 'read',
  topic: 'read',
};

export const DNS_FIELDS: FieldTable = { matchName: 'read', matchPattern: 'read' };

export const ICMP_RULE_FIELDS: FieldTable = { fields: 'read' };

export const ICMP_FIELDS: FieldTable = { family: 'read', type: 'read' };

export const CIDR_SET_FIELDS: FieldTable = {
  cidr: 'read',
  cidrGroupRef: 'read',
  cidrGroupSelector: 'read',
  except: 'read',
};

export const SERVICE_FIELDS: FieldTable = { k8sService: 'read', k8sServiceSelector: 'read' };

export const SERVICE_NAME_FIELDS: FieldTable = { serviceName: 'read', namespace: 'read' };

export const SERVICE_SELECTOR_FIELDS: FieldTable = { selector: 'read', namespace: 'read' };

export const DEFAULT_DENY_FIELDS: FieldTable = { ingress: 'read', egress: 'read' };

export const LOG_FIELDS: FieldTable = { value: 'read' };

export const AUTHENTICATION_FIELDS: FieldTable = { mode: 'read' };

export const SELECTOR_FIELDS: FieldTable = { matchLabels: 'read', matchExpressions: 'read' };

export const EXPRESSION_FIELDS: FieldTable = { key: 'read', operator: 'read', values: 'read' };

export const LABEL_FIELDS: FieldTable = { key: 'read', value: 'read', source: 'read' };

/** networking.k8s.io/v1 and extensions/v1beta1. */
export const NETWORK_POLICY_FIELDS: FieldTable = {
  apiVersion: 'read',
  kind: 'read',
  metadata: 'read',
  spec: 'read',
  status: 'ignored',
};

export const NETWORK_POLICY_SPEC_FIELDS: FieldTable = {
  podSelector: 'read',
  policyTypes: 'read',
  ingress: 'read',
  egress: 'read',
};

export const NETWORK_POLICY_ITEM_FIELDS = {
  ingress: { from: 'read', ports: 'read' },
  egress: { to: 'read', ports: 'read' },
} as const satisfies Readonly<Record<string, FieldTable>>;

export const NETWORK_POLICY_PEER_FIELDS: FieldTable = {
  podSelector: 'read',
  namespaceSelector: 'read',
  ipBlock: 'read',
};

export const IP_BLOCK_FIELDS: FieldTable = { cidr: 'read', except: 'read' };

export const CIDR_GROUP_SPEC_FIELDS: FieldTable = { externalCIDRs: 'read' };
