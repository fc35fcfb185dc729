import type { CidrGroup } from '../model/cidr-group.ts';
import type { SecretObject } from '../model/policy-inventory.ts';
import type { ServiceAddresses, ServiceObject } from '../model/service-backends.ts';
import { childPath, type Decoder, type Field, quote } from './decoder.ts';
import type { PolicyObject } from './namespace.ts';
import type { Rule } from './rule.ts';

/** A rule and where its text begins. */
export interface ParsedRule {
  readonly rule: Rule;
  readonly object: PolicyObject | undefined;
  /** Its field in the document: `spec`, `specs[1]`, `[0]` ...; empty for the document itself. */
  readonly field: string;
  readonly line: number;
  readonly column: number;
}

/** What the reading of one text gathers. */
export interface ParseContext {
  readonly decoder: Decoder;
  /** Of objects that name none. */
  readonly namespace: string;
  readonly rules: ParsedRule[];
  readonly cidrGroups: CidrGroup[];
  readonly services: ServiceObject[];
  readonly addresses: ServiceAddresses[];
  readonly secrets: SecretObject[];
}

/** Adds a rule to those of the text. */
export function addParsedRule(
  { decoder, rules }: ParseContext,
  field: Field,
  rule: Rule,
  object: PolicyObject | undefined,
): void {
  rules.push({ rule, object, field: field.path, ...decoder.positionOf(field.node.at) });
}

/** The field of a map by its name, whatever else the map holds; an empty one is as if it were not there. */
export function childOf(field: Field | undefined, key: string): Field | undefined {
  if (field?.node.kind !== 'map') return undefined;
  const entry = field.node.entries.find((item) => item.key === key);
  if (entry === undefined || entry.value.kind === 'null') return undefined;
  return { node: entry.value, path: childPath(field.path, key) };
}

const DNS_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

function decodeKubernetesName(
  decoder: Decoder,
  field: Field,
  form: RegExp,
  maxLength: number,
): string | undefined {
  const name = decoder.text(field);
  if (name === undefined) return undefined;
  if (name.length <= maxLength && form.test(name)) return name;
  const reason = `${quote(name)} is not a name of Kubernetes`;
  const hint = `lower case letters, digits and "-", at most ${maxLength} characters`;
  return decoder.report(field, 'VALUE', reason, hint);
}

/** Reads the name of an object. */
export function decodeObjectName(decoder: Decoder, field: Field): string | undefined {
  return decodeKubernetesName(decoder, field, DNS_NAME, 253);
}

/** Reads the name of a namespace. */
export function decodeNamespaceName(decoder: Decoder, field: Field): string | undefined {
  return decodeKubernetesName(decoder, field, DNS_LABEL, 63);
}
