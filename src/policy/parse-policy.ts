import { EMPTY_INVENTORY, type PolicyInventory } from '../model/policy-inventory.ts';
import { Decoder, type Field, quote, suggestion } from './decoder.ts';
import { DEFAULT_DOCUMENT_LIMITS, type DocumentLimits, parseText, treeOfValue } from './document.ts';
import { DOCUMENT_FIELDS, LIST_FIELDS, METADATA_FIELDS } from './fields.ts';
import { namesForeignNamespace, namespaceRule, type PolicyObject } from './namespace.ts';
import { decodeRule } from './parse-rule.ts';
import { PolicyInvalidError, type PolicyProblem } from './problem.ts';
import type { Rule } from './rule.ts';

export interface ParsePolicyOptions {
  /** Name of the file, or what else messages should call the text. */
  readonly file: string;
  /** Namespace of objects that name none; `default`. */
  readonly namespace?: string;
  readonly limits?: Partial<DocumentLimits>;
}

/** A rule and where its text begins. */
export interface ParsedRule {
  readonly rule: Rule;
  readonly object: PolicyObject | undefined;
  readonly line: number;
  readonly column: number;
}

export interface ParsedPolicy {
  /** Empty if there is any error: a text is taken as a whole or not at all. */
  readonly rules: readonly ParsedRule[];
  /** CIDR groups, services and their addresses that the text defines; empty if there is any error. */
  readonly inventory: PolicyInventory;
  readonly errors: readonly PolicyProblem[];
  readonly warnings: readonly PolicyProblem[];
}

const API_VERSION = 'cilium.io/v2';
const KIND = 'CiliumNetworkPolicy';
const REFUSED_KINDS = [
  'CiliumClusterwideNetworkPolicy',
  'NetworkPolicy',
  'CiliumCIDRGroup',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'ClusterNetworkPolicy',
] as const;
const LIST_KINDS = ['List', 'CiliumNetworkPolicyList'] as const;
const DNS_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

interface Context {
  readonly decoder: Decoder;
  readonly namespace: string;
  readonly rules: ParsedRule[];
}

function childOf(field: Field, key: string): Field | undefined {
  if (field.node.kind !== 'map') return undefined;
  const entry = field.node.entries.find((item) => item.key === key);
  return entry && { node: entry.value, path: field.path === '' ? key : `${field.path}.${key}` };
}

function addRule(context: Context, field: Field, object: PolicyObject | undefined): void {
  const { decoder, rules } = context;
  const rule = decodeRule(decoder, field);
  if (rule === undefined) return;
  const subject = childOf(field, 'endpointSelector') ?? field;
  if (object !== undefined && namesForeignNamespace(rule.subject, object.namespace)) {
    const reason = `the subject is always in the object's namespace ${quote(object.namespace)}; the other is not used`;
    decoder.warn(subject, reason, `remove the namespace from the selector`);
  }
  const acting = object === undefined ? rule : namespaceRule(rule, object);
  rules.push({ rule: acting, object, ...decoder.positionOf(field.node.at) });
}

function decodeName(decoder: Decoder, field: Field, form: RegExp, maxLength: number): string | undefined {
  const name = decoder.text(field);
  if (name === undefined) return undefined;
  if (name.length <= maxLength && form.test(name)) return name;
  const reason = `${quote(name)} is not a name of Kubernetes`;
  const hint = `lower case letters, digits and "-", at most ${maxLength} characters`;
  return decoder.report(field, 'VALUE', reason, hint);
}

function decodeMetadata(context: Context, parent: Field, field: Field | undefined): PolicyObject | undefined {
  const { decoder } = context;
  if (field === undefined) return decoder.missing(parent, 'metadata', 'it holds the name');
  const fields = decoder.fields(field, METADATA_FIELDS);
  if (fields === undefined) return undefined;
  const nameField = fields.get('name');
  const namespaceField = fields.get('namespace');
  const name =
    nameField === undefined ? decoder.missing(field, 'name') : decodeName(decoder, nameField, DNS_NAME, 253);
  const namespace =
    namespaceField === undefined ? context.namespace : decodeName(decoder, namespaceField, DNS_LABEL, 63);
  return name === undefined || namespace === undefined ? undefined : { name, namespace };
}

function decodeObject(context: Context, field: Field): void {
  const { decoder } = context;
  const fields = decoder.fields(field, DOCUMENT_FIELDS);
  if (fields === undefined) return;
  const object = decodeMetadata(context, field, fields.get('metadata'));
  const description = fields.get('description');
  if (description !== undefined) decoder.text(description);
  const spec = fields.get('spec');
  const specs = fields.get('specs');
  if (spec === undefined && specs === undefined) decoder.missing(field, 'spec', 'a policy has spec or specs');
  // An object whose name is wrong is refused anyway; its rules are read for their own errors.
  const named = object ?? { name: 'unnamed', namespace: context.namespace };
  if (spec !== undefined) addRule(context, spec, named);
  if (specs === undefined) return;
  const items = decoder.items(specs) ?? [];
  if (specs.node.kind === 'list' && items.length === 0 && spec === undefined) {
    decoder.report(specs, 'VALUE', 'the list is empty', 'give the object at least one rule');
  }
  for (const item of items) addRule(context, item, named);
}

function refuseKind(decoder: Decoder, field: Field, kind: string): void {
  if ((REFUSED_KINDS as readonly string[]).includes(kind)) {
    decoder.report(field, 'UNSUPPORTED', `${kind} is not supported by this version`, `write a ${KIND}`);
    return;
  }
  const reason = `${quote(kind)} is not a known kind of policy`;
  decoder.report(field, 'VALUE', reason, suggestion(kind, [KIND]) ?? `known: ${KIND}`);
}

function checkApiVersion(decoder: Decoder, document: Field, wanted: string): void {
  const field = childOf(document, 'apiVersion');
  if (field === undefined) {
    decoder.missing(document, 'apiVersion', `write ${wanted}`);
    return;
  }
  const version = decoder.text(field);
  if (version === undefined || version === wanted) return;
  decoder.report(field, 'VALUE', `${quote(version)} is not supported`, `write ${wanted}`);
}

function decodeList(context: Context, field: Field): void {
  const fields = context.decoder.fields(field, LIST_FIELDS);
  const items = fields?.get('items');
  if (fields !== undefined && items === undefined) context.decoder.missing(field, 'items');
  if (items === undefined) return;
  for (const item of context.decoder.items(items) ?? []) decodeDocument(context, item);
}

/** One document or list item: an object with a kind, or a bare rule. */
function decodeDocument(context: Context, field: Field): void {
  const { decoder } = context;
  if (field.node.kind !== 'map') {
    const found = field.node.kind === 'null' ? 'nothing' : `a ${field.node.kind}`;
    decoder.report(field, 'TYPE', `must be a policy object or a rule, found ${found}`);
    return;
  }
  const kindField = childOf(field, 'kind');
  if (kindField === undefined) {
    const looksLikeObject = ['apiVersion', 'metadata', 'spec', 'specs'].some((key) => childOf(field, key));
    if (looksLikeObject) {
      decoder.missing(field, 'kind', `write ${KIND}`);
      decodeObject(context, field);
    } else addRule(context, field, undefined);
    return;
  }
  const kind = decoder.text(kindField);
  if (kind === undefined) return;
  if ((LIST_KINDS as readonly string[]).includes(kind)) decodeList(context, field);
  else if (kind === KIND) {
    checkApiVersion(decoder, field, API_VERSION);
    decodeObject(context, field);
  } else refuseKind(decoder, kindField, kind);
}

function decodeRoot(context: Context, field: Field): void {
  if (field.node.kind !== 'list') {
    decodeDocument(context, field);
    return;
  }
  for (const item of context.decoder.items(field) ?? []) decodeDocument(context, item);
}

/**
 * Reads a policy text: YAML or JSON, one or several documents, each a CiliumNetworkPolicy, a list of them, a list of
 * rules or one rule. Every error is found, not only the first.
 */
export function parsePolicy(text: string, options: ParsePolicyOptions): ParsedPolicy {
  const decoder = new Decoder(options.file);
  const context: Context = { decoder, namespace: options.namespace ?? 'default', rules: [] };
  const limits = { ...DEFAULT_DOCUMENT_LIMITS, ...options.limits };
  const parsed = parseText(
    text,
    (at, code, reason, hint) => decoder.reportAt(at, '', code, reason, hint),
    limits,
  );
  decoder.setPositions(parsed.position);
  for (const node of parsed.documents) decodeRoot(context, { node, path: '' });
  const problems = decoder.problems();
  if (parsed.documents.length === 0 && problems.length === 0) {
    decoder.reportAt(0, '', 'MISSING', 'the text holds no policy');
  }
  const all = decoder.problems();
  const errors = all.filter((problem) => problem.severity === 'error');
  const warnings = all.filter((problem) => problem.severity === 'warning');
  return { rules: errors.length > 0 ? [] : context.rules, inventory: EMPTY_INVENTORY, errors, warnings };
}

/**
 * Like `parsePolicy`, for callers that want rules or an error.
 * @throws PolicyInvalidError with every error of the text
 */
export function readPolicy(text: string, options: ParsePolicyOptions): readonly Rule[] {
  const parsed = parsePolicy(text, options);
  if (parsed.errors.length > 0) throw new PolicyInvalidError(parsed.errors);
  return parsed.rules.map(({ rule }) => rule);
}

/**
 * Reads a rule that `ruleJson` made and JSON.parse gave back.
 * @param path what errors call it, `rules[3].rule`
 * @throws PolicyInvalidError
 */
export function readRuleValue(value: unknown, file: string, path: string): Rule {
  const decoder = new Decoder(file);
  const rule = decodeRule(decoder, { node: treeOfValue(value), path });
  const errors = decoder.problems().filter((problem) => problem.severity === 'error');
  if (rule === undefined || errors.length > 0) throw new PolicyInvalidError(errors);
  return rule;
}
