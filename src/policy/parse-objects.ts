import { type Field, quote } from './decoder.ts';
import { DOCUMENT_FIELDS } from './fields.ts';
import { bareRule, namesForeignNamespace, objectRule, type PolicyObject } from './namespace.ts';
import { addParsedRule, childOf, type ParseContext } from './parse-context.ts';
import { decodeMetadata } from './parse-metadata.ts';
import { decodeRule } from './parse-rule.ts';

function checkSubject(context: ParseContext, field: Field, object: PolicyObject): void {
  const nodes = childOf(field, 'nodeSelector');
  if (nodes === undefined || object.namespace === '') return;
  const reason = 'nodeSelector cannot stand in a CiliumNetworkPolicy: nodes have no namespace';
  context.decoder.report(nodes, 'CONFLICT', reason, 'write a CiliumClusterwideNetworkPolicy');
}

/** Reads a rule, and puts it into its object. */
export function decodeObjectRule(
  context: ParseContext,
  field: Field,
  object: PolicyObject | undefined,
): void {
  const { decoder, namespace } = context;
  const rule = decodeRule(decoder, field);
  if (object !== undefined) checkSubject(context, field, object);
  if (rule === undefined) return;
  const subject = childOf(field, 'endpointSelector') ?? field;
  if (
    object !== undefined &&
    object.namespace !== '' &&
    namesForeignNamespace(rule.subject, object.namespace)
  ) {
    const reason = `the subject is always in the object's namespace ${quote(object.namespace)}; the other is not used`;
    decoder.warn(subject, reason, `remove the namespace from the selector`);
  }
  const acting = object === undefined ? bareRule(rule, namespace) : objectRule(rule, object, namespace);
  addParsedRule(context, field, acting, object);
}

/** Reads a CiliumNetworkPolicy or a CiliumClusterwideNetworkPolicy: one rule in `spec`, or several in `specs`. */
export function decodeCiliumPolicy(
  context: ParseContext,
  field: Field,
  kind: 'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy',
): void {
  const { decoder } = context;
  const fields = decoder.fields(field, DOCUMENT_FIELDS);
  if (fields === undefined) return;
  const clusterwide = kind === 'CiliumClusterwideNetworkPolicy';
  const metadata = decodeMetadata(context, field, { clusterwide });
  const description = fields.get('description');
  if (description !== undefined) decoder.text(description);
  const spec = fields.get('spec');
  const specs = fields.get('specs');
  if (spec === undefined && specs === undefined) decoder.missing(field, 'spec', 'a policy has spec or specs');
  // An object whose name is wrong is refused anyway; its rules are read for their own errors.
  const place = metadata ?? { name: 'unnamed', namespace: clusterwide ? '' : context.namespace };
  const object = { kind, ...place };
  if (spec !== undefined) decodeObjectRule(context, spec, object);
  if (specs === undefined) return;
  const items = decoder.items(specs) ?? [];
  if (specs.node.kind === 'list' && items.length === 0 && spec === undefined)
    decoder.report(specs, 'VALUE', 'the list is empty', 'give the object at least one rule');
  for (const item of items) decodeObjectRule(context, item, object);
}
