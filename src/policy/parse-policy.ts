import { atOnce, type Slices } from '../base/slices.ts';
import {
  EMPTY_INVENTORY,
  mergeInventory,
  type PolicyInventory,
  type SecretObject,
} from '../model/policy-inventory.ts';
import { Decoder, type Field, quote, suggestion } from './decoder.ts';
import { DEFAULT_DOCUMENT_LIMITS, type DocumentLimits, parseTextSlices, treeOfValue } from './document.ts';
import { LIST_FIELDS } from './fields.ts';
import { latestObjects } from './former-objects.ts';
import { childOf, type ParseContext, type ParsedRule } from './parse-context.ts';
import { decodeCidrGroup, decodeSecret } from './parse-inventory.ts';
import { decodeNetworkPolicy } from './parse-network-policy.ts';
import { decodeCiliumPolicy, decodeObjectRule } from './parse-objects.ts';
import { decodeRule } from './parse-rule.ts';
import { decodeEndpointSlice, decodeEndpoints, decodeService } from './parse-service-object.ts';
import { PolicyInvalidError, type PolicyProblem } from './problem.ts';
import type { Rule } from './rule.ts';
import { secretsOfRule } from './rule-context.ts';

export interface ParsePolicyOptions {
  /** Name of the file, or what else messages should call the text. */
  readonly file: string;
  /** Namespace of objects that name none; `default`. */
  readonly namespace?: string;
  readonly limits?: Partial<DocumentLimits>;
  /** Whether nodes have identities by their labels: without, `fromNodes` and `toNodes` are errors. Undefined: not known. */
  readonly nodeLabels?: boolean | undefined;
}

export interface ParsedPolicy {
  /** Empty if there is any error: a text is taken as a whole or not at all. */
  readonly rules: readonly ParsedRule[];
  /** CIDR groups, services and their addresses that the text defines; empty if there is any error. */
  readonly inventory: PolicyInventory;
  readonly errors: readonly PolicyProblem[];
  readonly warnings: readonly PolicyProblem[];
}

interface Kind {
  /** Versions of the API, the preferred one first. */
  readonly versions: readonly string[];
  readonly decode: (context: ParseContext, field: Field) => void;
}

/** Read in one slice: some 5 ms. */
const DOCUMENTS_A_SLICE = 200;

const CILIUM = ['cilium.io/v2'];

const KINDS: Readonly<Record<string, Kind>> = {
  CiliumNetworkPolicy: {
    versions: CILIUM,
    decode: (context, field) => decodeCiliumPolicy(context, field, 'CiliumNetworkPolicy'),
  },
  CiliumClusterwideNetworkPolicy: {
    versions: CILIUM,
    decode: (context, field) => decodeCiliumPolicy(context, field, 'CiliumClusterwideNetworkPolicy'),
  },
  NetworkPolicy: { versions: ['networking.k8s.io/v1', 'extensions/v1beta1'], decode: decodeNetworkPolicy },
  CiliumCIDRGroup: { versions: ['cilium.io/v2', 'cilium.io/v2alpha1'], decode: decodeCidrGroup },
  Service: { versions: ['v1'], decode: decodeService },
  Endpoints: { versions: ['v1'], decode: decodeEndpoints },
  Secret: { versions: ['v1'], decode: decodeSecret },
  EndpointSlice: {
    versions: ['discovery.k8s.io/v1', 'discovery.k8s.io/v1beta1'],
    decode: decodeEndpointSlice,
  },
};

const KIND_NAMES = Object.keys(KINDS);
const USUAL_KIND = 'CiliumNetworkPolicy';
const REFUSED_KINDS = ['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy'] as const;

function refuseKind(decoder: Decoder, field: Field, kind: string): void {
  if ((REFUSED_KINDS as readonly string[]).includes(kind)) {
    const hint = 'write a CiliumClusterwideNetworkPolicy';
    decoder.report(field, 'UNSUPPORTED', `${kind} is not supported: there are no tiers of policies`, hint);
    return;
  }
  const reason = `${quote(kind)} is not a known kind of policy`;
  decoder.report(field, 'VALUE', reason, suggestion(kind, KIND_NAMES));
}

function checkApiVersion(decoder: Decoder, document: Field, known: readonly string[]): void {
  const field = childOf(document, 'apiVersion');
  const usual = known[0] ?? '';
  if (field === undefined) {
    decoder.missing(document, 'apiVersion', `write ${usual}`);
    return;
  }
  const version = decoder.text(field);
  if (version === undefined || known.includes(version)) return;
  decoder.report(field, 'VALUE', `${quote(version)} is not supported`, `write ${known.join(' or ')}`);
}

/** The kind of a list's items, which do not name it themselves in answers of the API; undefined for a plain `List`. */
function itemKind(listKind: string): string | undefined {
  const kind = listKind.slice(0, -'List'.length);
  return Object.hasOwn(KINDS, kind) ? kind : undefined;
}

function* decodeList(context: ParseContext, field: Field, kind: string | undefined): Slices<void> {
  const fields = context.decoder.fields(field, LIST_FIELDS);
  const items = fields?.get('items');
  if (fields !== undefined && items === undefined) context.decoder.missing(field, 'items');
  if (items === undefined) return;
  yield* decodeItems(context, items, kind);
}

function* decodeKind(context: ParseContext, field: Field, kindField: Field): Slices<void> {
  const { decoder } = context;
  const name = decoder.text(kindField);
  if (name === undefined) return;
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (kind !== undefined) {
    checkApiVersion(decoder, field, kind.versions);
    kind.decode(context, field);
  } else if (name === 'List' || (name.endsWith('List') && itemKind(name) !== undefined)) {
    yield* decodeList(context, field, itemKind(name));
  } else refuseKind(decoder, kindField, name);
}

/** One document or list item: an object with a kind, or a bare rule. */
function* decodeDocument(context: ParseContext, field: Field, defaultKind?: string): Slices<void> {
  const { decoder } = context;
  if (field.node.kind !== 'map') {
    const found = field.node.kind === 'null' ? 'nothing' : `a ${field.node.kind}`;
    decoder.report(field, 'TYPE', `must be a policy object or a rule, found ${found}`, NO_POLICY);
    return;
  }
  const kindField = childOf(field, 'kind');
  if (kindField !== undefined) yield* decodeKind(context, field, kindField);
  else if (defaultKind !== undefined) KINDS[defaultKind]?.decode(context, field);
  else if (['apiVersion', 'metadata', 'spec', 'specs'].some((key) => childOf(field, key))) {
    decoder.missing(field, 'kind', `write ${USUAL_KIND}`);
    decodeCiliumPolicy(context, field, USUAL_KIND);
  } else decodeObjectRule(context, field, undefined);
}

function* decodeItems(context: ParseContext, field: Field, kind?: string): Slices<void> {
  for (const [i, item] of (context.decoder.items(field) ?? []).entries()) {
    if (i > 0 && i % DOCUMENTS_A_SLICE === 0) yield;
    yield* decodeDocument(context, item, kind);
  }
}

function* decodeRoot(context: ParseContext, field: Field): Slices<void> {
  if (field.node.kind === 'list') yield* decodeItems(context, field);
  else yield* decodeDocument(context, field);
}

/** Rules whose Secrets the text lacks: they may be with the agent, which only who imports them knows. */
function secretRemarks(
  { rules, secrets }: { readonly rules: readonly ParsedRule[]; readonly secrets: readonly SecretObject[] },
  file: string,
): PolicyProblem[] {
  const known = new Set(secrets.map(({ namespace, name }) => `${namespace}/${name}`));
  return rules.flatMap(({ rule, field, line, column }) =>
    secretsOfRule(rule)
      .map(({ namespace, name }) => `${namespace}/${name}`)
      .filter((name) => !known.has(name))
      .map(
        (name): PolicyProblem => ({
          ...{ severity: 'warning', code: 'NO_EFFECT', file, line, column, field },
          reason: `Secret ${name} is not in this text: until it is imported its header cannot match`,
          hint: 'import it beside the rules',
        }),
      ),
  );
}

const NO_POLICY = 'write an object with apiVersion, kind and spec, or a list of rules with endpointSelector';

/**
 * Reads a policy text: YAML or JSON, one or several documents, each an object of `KINDS`, a list of them, a list of
 * rules or one rule. Every error is found, not only the first.
 */
export function parsePolicy(text: string, options: ParsePolicyOptions): ParsedPolicy {
  return atOnce(parsePolicySlices(text, options));
}

/** The same slice by slice. */
export function* parsePolicySlices(text: string, options: ParsePolicyOptions): Slices<ParsedPolicy> {
  const decoder = new Decoder(options.file, options);
  const context: ParseContext = {
    decoder,
    namespace: options.namespace ?? 'default',
    rules: [],
    cidrGroups: [],
    services: [],
    addresses: [],
    secrets: [],
  };
  const limits = { ...DEFAULT_DOCUMENT_LIMITS, ...options.limits };
  const parsed = yield* parseTextSlices(
    text,
    (at, code, reason, hint) => decoder.reportAt(at, '', code, reason, hint),
    limits,
  );
  decoder.setPositions(parsed.position);
  for (const node of parsed.documents) yield* decodeRoot(context, { node, path: '' });
  const problems = decoder.problems();
  if (parsed.documents.length === 0 && problems.length === 0) {
    decoder.reportAt(0, '', 'MISSING', 'the text holds no policy', NO_POLICY);
  }
  const all = decoder.problems();
  const errors = all.filter((problem) => problem.severity === 'error');
  const warnings = all.filter((problem) => problem.severity === 'warning');
  if (errors.length > 0) return { rules: [], inventory: EMPTY_INVENTORY, errors, warnings };
  const { rules, cidrGroups, services, addresses, secrets } = context;
  // Of an object that the text has twice, the last one counts, as when they are applied in turn.
  const inventory = mergeInventory(EMPTY_INVENTORY, { cidrGroups, services, addresses, secrets });
  const latest = latestObjects(rules.map((rule) => ({ ...rule, file: options.file })));
  const remarks = [...latest.warnings, ...secretRemarks({ rules: latest.rules, secrets }, options.file)];
  return {
    rules: latest.rules.map(({ file: _, ...rule }) => rule),
    inventory,
    errors,
    warnings: [...warnings, ...remarks],
  };
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
