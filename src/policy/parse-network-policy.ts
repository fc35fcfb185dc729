import { LabelKey } from '../model/labels.ts';
import { EMPTY_SELECTOR, type LabelSelector, makeSelector, type SelectorKey } from '../model/selector.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import {
  IP_BLOCK_FIELDS,
  NETWORK_POLICY_FIELDS,
  NETWORK_POLICY_ITEM_FIELDS,
  NETWORK_POLICY_PEER_FIELDS,
  NETWORK_POLICY_SPEC_FIELDS,
  PORT_FIELDS,
} from './fields.ts';
import { HAS_NAMESPACE, objectRule, withNamespace } from './namespace.ts';
import { decodeCidrSpec } from './parse-cidr.ts';
import { addParsedRule, type ParseContext } from './parse-context.ts';
import { decodeMetadata } from './parse-metadata.ts';
import { decodeNetworkPolicyPort } from './parse-network-policy-port.ts';
import { decodeSelector } from './parse-selector.ts';
import type { Peers, PortRule, Rule, RuleItem } from './rule.ts';

type PolicyDirection = 'ingress' | 'egress';

const POLICY_TYPES = ['Ingress', 'Egress'] as const;

const EVERYBODY: Peers = { kind: 'endpoints', selectors: [EMPTY_SELECTOR] };

/** A selector of namespaces as one of pods: each pod carries the labels of its namespace under a prefix. */
function namespaceParts(selector: LabelSelector): LabelSelector {
  const ofNamespace = <T extends SelectorKey>(part: T): T => ({
    ...part,
    key: `${LabelKey.namespaceLabelPrefix}${part.key}`,
  });
  const matchLabels = selector.matchLabels.map(ofNamespace);
  const matchExpressions = selector.matchExpressions.map(ofNamespace);
  const all = matchLabels.length === 0 && matchExpressions.length === 0;
  return makeSelector(matchLabels, all ? [HAS_NAMESPACE] : matchExpressions);
}

function podPeer(
  namespace: string,
  namespaces: LabelSelector | undefined,
  pods: LabelSelector | undefined,
): LabelSelector {
  const podPart = pods ?? EMPTY_SELECTOR;
  if (namespaces === undefined) return withNamespace(podPart, namespace);
  const namespacePart = namespaceParts(namespaces);
  return makeSelector(
    [...namespacePart.matchLabels, ...podPart.matchLabels],
    [...namespacePart.matchExpressions, ...podPart.matchExpressions],
  );
}

function decodeIpBlock(decoder: Decoder, field: Field): Peers | undefined {
  const fields = decoder.fields(field, IP_BLOCK_FIELDS);
  const spec = fields && decodeCidrSpec(decoder, field, fields);
  return spec && { kind: 'cidr-sets', sets: [spec] };
}

function decodePeer(decoder: Decoder, field: Field, namespace: string): Peers | undefined {
  const fields = decoder.fields(field, NETWORK_POLICY_PEER_FIELDS);
  if (fields === undefined) return undefined;
  const pods = fields.get('podSelector');
  const namespaces = fields.get('namespaceSelector');
  const block = fields.get('ipBlock');
  if (fields.size === 0)
    return decoder.missing(field, 'podSelector', 'write podSelector, namespaceSelector or ipBlock');
  if (block !== undefined && fields.size > 1) {
    const reason = 'ipBlock cannot stand beside podSelector or namespaceSelector';
    return decoder.report(block, 'CONFLICT', reason, 'make two peers of it');
  }
  if (block !== undefined) return decodeIpBlock(decoder, block);
  const select = (part: Field | undefined): LabelSelector | undefined =>
    part && decodeSelector(decoder, part, 'kubernetes');
  return { kind: 'endpoints', selectors: [podPeer(namespace, select(namespaces), select(pods))] };
}

function decodePorts(decoder: Decoder, field: Field | undefined): PortRule[] | undefined {
  const items = field === undefined ? [] : (decoder.items(field) ?? []);
  if (items.length === 0) return undefined;
  const ports = items.map((item) => decodeNetworkPolicyPort(decoder, item, PORT_FIELDS));
  return ports.filter((port) => port !== undefined).map((port) => ({ ports: [port] }));
}

/** One item of Ciliate for each peer: peers of one item must be of one kind. */
function decodeItem(
  decoder: Decoder,
  field: Field,
  direction: PolicyDirection,
  namespace: string,
): RuleItem[] {
  const fields = decoder.fields(field, NETWORK_POLICY_ITEM_FIELDS[direction]);
  if (fields === undefined) return [];
  const peersField = fields.get(direction === 'ingress' ? 'from' : 'to');
  const items = peersField === undefined ? [] : (decoder.items(peersField) ?? []);
  const ports = decodePorts(decoder, fields.get('ports'));
  if (items.length === 0) return [{ peers: EVERYBODY, ports }];
  return items
    .map((item) => decodePeer(decoder, item, namespace))
    .filter((peers) => peers !== undefined)
    .map((peers) => ({ peers, ports }));
}

function decodePolicyTypes(decoder: Decoder, field: Field | undefined): Set<string> {
  const items = field === undefined ? [] : (decoder.items(field) ?? []);
  const types = items.map((item) => {
    const text = decoder.text(item);
    if (text === undefined || (POLICY_TYPES as readonly string[]).includes(text)) return text;
    return decoder.report(
      item,
      'VALUE',
      `${quote(text)} is not a policy type`,
      suggestion(text, POLICY_TYPES),
    );
  });
  return new Set(types.filter((type) => type !== undefined));
}

/**
 * The items of both directions. As Cilium does it: rules count whether or not `policyTypes` names their direction;
 * a direction without rules is closed when it is named, ingress also when egress is not.
 */
function closeDirections(
  items: Readonly<Record<PolicyDirection, RuleItem[]>>,
  types: ReadonlySet<string>,
): Pick<Rule, 'ingress' | 'egress'> {
  const nobody: readonly RuleItem[] = [{ peers: undefined, ports: undefined }];
  const closesIngress = types.has('Ingress') || !types.has('Egress');
  const ingress = items.ingress.length === 0 && closesIngress ? nobody : items.ingress;
  const egress = items.egress.length === 0 && types.has('Egress') ? nobody : items.egress;
  return {
    ingress: ingress.length === 0 ? undefined : ingress,
    egress: egress.length === 0 ? undefined : egress,
  };
}

function decodeSpec(decoder: Decoder, field: Field, namespace: string): Rule | undefined {
  const fields = decoder.fields(field, NETWORK_POLICY_SPEC_FIELDS);
  if (fields === undefined) return undefined;
  const pods = fields.get('podSelector');
  const selector = pods === undefined ? EMPTY_SELECTOR : decodeSelector(decoder, pods, 'kubernetes');
  const itemsOf = (direction: PolicyDirection): RuleItem[] => {
    const section = fields.get(direction);
    const items = section === undefined ? [] : (decoder.items(section) ?? []);
    return items.flatMap((item) => decodeItem(decoder, item, direction, namespace));
  };
  const items = { ingress: itemsOf('ingress'), egress: itemsOf('egress') };
  const types = decodePolicyTypes(decoder, fields.get('policyTypes'));
  if (selector === undefined) return undefined;
  return {
    subject: withNamespace(selector, namespace),
    ...closeDirections(items, types),
    labels: [],
    description: undefined,
  };
}

/** Reads a NetworkPolicy of Kubernetes as the one rule that it is to Cilium. */
export function decodeNetworkPolicy(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const fields = decoder.fields(field, NETWORK_POLICY_FIELDS);
  if (fields === undefined) return;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const spec = fields.get('spec');
  if (spec === undefined) {
    decoder.missing(field, 'spec');
    return;
  }
  const { name = 'unnamed', namespace = context.namespace } = metadata ?? {};
  const object = { kind: 'NetworkPolicy', name, namespace } as const;
  const rule = decodeSpec(decoder, spec, namespace);
  if (rule !== undefined) addParsedRule(context, spec, objectRule(rule, object, namespace), object);
}
