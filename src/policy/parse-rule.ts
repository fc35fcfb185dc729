import { type Label, LabelError, makeLabel, parseLabel } from '../model/labels.ts';
import type { LabelSelector } from '../model/selector.ts';
import type { Decoder, Field } from './decoder.ts';
import { DEFAULT_DENY_FIELDS, LABEL_FIELDS, LOG_FIELDS, RULE_FIELDS } from './fields.ts';
import { decodeItem, type Section } from './parse-item.ts';
import { decodeSelector } from './parse-selector.ts';
import type { Rule, RuleItem } from './rule.ts';

/** Most characters of `log.value`; it is repeated in every record. */
export const MAX_LOG_LENGTH = 512;

const SECTIONS = ['ingress', 'ingressDeny', 'egress', 'egressDeny'] as const satisfies readonly Section[];

function decodeSection(
  decoder: Decoder,
  field: Field | undefined,
  section: Section,
): readonly RuleItem[] | undefined {
  if (field === undefined) return undefined;
  const items = decoder.items(field);
  if (items === undefined) return undefined;
  if (items.length === 0) {
    const direction = section.startsWith('ingress') ? 'ingress' : 'egress';
    const hint = section === direction ? 'write [{}] to deny all of it' : 'leave it out';
    decoder.warn(field, `an empty list leaves ${direction} alone`, hint);
  }
  return items.flatMap((item) => decodeItem(decoder, item, section));
}

function labelOfParts(decoder: Decoder, field: Field): Label | undefined {
  const fields = decoder.fields(field, LABEL_FIELDS);
  if (fields === undefined) return undefined;
  const read = (name: string): string | undefined => {
    const part = fields.get(name);
    return part && decoder.text(part);
  };
  if (!fields.has('key')) return decoder.missing(field, 'key');
  const source = read('source');
  return makeLabel(
    source === undefined || source === '' ? 'unspec' : source,
    read('key') ?? '',
    read('value') ?? '',
    'any',
  );
}

/** Reads a label of a rule: `"source:key=value"` or `{key, value, source}`. */
function decodeRuleLabel(decoder: Decoder, field: Field): Label | undefined {
  try {
    if (field.node.kind === 'map') return labelOfParts(decoder, field);
    return parseLabel(decoder.text(field) ?? 'x', 'unspec', 'any');
  } catch (error) {
    if (!(error instanceof LabelError)) throw error;
    return decoder.report(field, 'VALUE', error.message, error.hint);
  }
}

/** Reads the list of a rule's labels. */
export function decodeRuleLabels(decoder: Decoder, field: Field): Label[] {
  const labels = (decoder.items(field) ?? []).map((item) => decodeRuleLabel(decoder, item));
  return labels.filter((label) => label !== undefined);
}

/** What a rule is for: endpoints by `endpointSelector`, or nodes by `nodeSelector`. */
interface Subject {
  readonly selector: LabelSelector;
  readonly kind: 'endpoint' | 'node';
}

function decodeSubject(
  decoder: Decoder,
  parent: Field,
  fields: ReadonlyMap<string, Field>,
): Subject | undefined {
  const endpoints = fields.get('endpointSelector');
  const nodes = fields.get('nodeSelector');
  const field = endpoints ?? nodes;
  if (field === undefined)
    return decoder.missing(parent, 'endpointSelector', 'write {} to select every endpoint');
  if (endpoints !== undefined && nodes !== undefined) {
    const reason = 'endpointSelector and nodeSelector cannot stand in one rule';
    decoder.report(nodes, 'CONFLICT', reason, 'make two rules of it');
  }
  const selector = decodeSelector(decoder, field);
  return selector && { selector, kind: endpoints === undefined ? 'node' : 'endpoint' };
}

function decodeDefaultDeny(decoder: Decoder, field: Field): Rule['enableDefaultDeny'] {
  const fields = decoder.fields(field, DEFAULT_DENY_FIELDS);
  const read = (name: 'ingress' | 'egress'): Readonly<Record<string, boolean>> => {
    const part = fields?.get(name);
    const value = part && decoder.boolean(part);
    return value === undefined ? {} : { [name]: value };
  };
  const flags = { ...read('ingress'), ...read('egress') };
  return Object.keys(flags).length === 0 ? undefined : flags;
}

function decodeLog(decoder: Decoder, field: Field): string | undefined {
  const value = decoder.fields(field, LOG_FIELDS)?.get('value');
  const text = value && decoder.text(value);
  if (value === undefined || text === undefined || text === '') return undefined;
  if (text.length > MAX_LOG_LENGTH) {
    return decoder.report(
      value,
      'LIMIT',
      `the text has ${text.length} characters, at most ${MAX_LOG_LENGTH} are allowed`,
    );
  }
  if (/\p{Cc}/u.test(text)) return decoder.report(value, 'VALUE', 'the text holds a control character');
  return text;
}

/** L7 rules of host policies: on ingress none, on egress those of DNS. */
function checkHostRules(decoder: Decoder, fields: ReadonlyMap<string, Field>, rule: Rule): void {
  const refused = (items: readonly RuleItem[] | undefined, dns: boolean): boolean =>
    (items ?? []).some(({ ports }) =>
      ports?.some(({ l7 }) => l7 !== undefined && !(dns && l7.kind === 'dns')),
    );
  const ingress = fields.get('ingress');
  const egress = fields.get('egress');
  if (ingress !== undefined && refused(rule.ingress, false))
    decoder.report(
      ingress,
      'CONFLICT',
      'host policies cannot have L7 rules on ingress',
      'judge pods instead',
    );
  if (egress !== undefined && refused(rule.egress, true))
    decoder.report(egress, 'CONFLICT', 'host policies can have no L7 rules but dns on egress');
  else if (egress !== undefined && refused(rule.egress, false))
    decoder.warn(
      egress,
      "the node's own queries are not judged by name: what dns rules match is dropped",
      'allow them by port',
    );
}

function checkIngressDns(decoder: Decoder, fields: ReadonlyMap<string, Field>, rule: Rule): void {
  const field = fields.get('ingress');
  const dns = (rule.ingress ?? []).some(({ ports }) => ports?.some(({ l7 }) => l7?.kind === 'dns'));
  if (field !== undefined && dns)
    decoder.report(
      field,
      'CONFLICT',
      'dns rules cannot stand on ingress',
      'judge the queries of clients by egress',
    );
}

function warnWithoutItems(decoder: Decoder, field: Field, fields: ReadonlyMap<string, Field>): void {
  const named = field.node.kind === 'map' ? field.node.entries.map(({ key }) => key) : [];
  // A key that is misspelt may have been meant as a section: it has an error of its own.
  if (named.some((key) => !Object.hasOwn(RULE_FIELDS, key))) return;
  if (SECTIONS.some((section) => fields.has(section))) return;
  decoder.warn(field, 'the rule has no section: it has no effect', 'write ingress: [{}] to deny all ingress');
}

type OptionalParts = Pick<Rule, 'subjectKind' | 'ingressDeny' | 'egressDeny' | 'enableDefaultDeny' | 'log'>;

/** The parts that a rule only has when its text has them. */
function optionalParts(
  decoder: Decoder,
  fields: ReadonlyMap<string, Field>,
  kind: Subject['kind'] | undefined,
): OptionalParts {
  const ingressDeny = decodeSection(decoder, fields.get('ingressDeny'), 'ingressDeny');
  const egressDeny = decodeSection(decoder, fields.get('egressDeny'), 'egressDeny');
  const denyField = fields.get('enableDefaultDeny');
  const enableDefaultDeny = denyField && decodeDefaultDeny(decoder, denyField);
  const logField = fields.get('log');
  const log = logField && decodeLog(decoder, logField);
  return {
    ...(kind === 'node' && { subjectKind: kind }),
    ...(ingressDeny !== undefined && { ingressDeny }),
    ...(egressDeny !== undefined && { egressDeny }),
    ...(enableDefaultDeny !== undefined && { enableDefaultDeny }),
    ...(log !== undefined && { log }),
  };
}

/**
 * Reads one rule as it stands in the text, without the namespace of an object around it. Parts that the text lacks
 * are left out, or undefined where `Rule` wants them, so that equal texts give equal rules.
 * @returns undefined when it cannot be a rule at all; anything wrong is reported
 */
export function decodeRule(decoder: Decoder, field: Field): Rule | undefined {
  const fields = decoder.fields(field, RULE_FIELDS);
  if (fields === undefined) return undefined;
  const subject = decodeSubject(decoder, field, fields);
  const ingress = decodeSection(decoder, fields.get('ingress'), 'ingress');
  const egress = decodeSection(decoder, fields.get('egress'), 'egress');
  const optional = optionalParts(decoder, fields, subject?.kind);
  warnWithoutItems(decoder, field, fields);
  const labelsField = fields.get('labels');
  const labels = labelsField === undefined ? [] : decodeRuleLabels(decoder, labelsField);
  const descriptionField = fields.get('description');
  const description = descriptionField && decoder.text(descriptionField);
  if (subject === undefined) return undefined;
  const rule: Rule = {
    subject: subject.selector,
    ingress,
    egress,
    labels,
    description: description === '' ? undefined : description,
    ...optional,
  };
  checkIngressDns(decoder, fields, rule);
  if (subject.kind === 'node') checkHostRules(decoder, fields, rule);
  return rule;
}
