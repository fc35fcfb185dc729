import { type Label, LabelError, makeLabel } from '../model/labels.ts';
import type { Decoder, Field } from './decoder.ts';
import { METADATA_FIELDS } from './fields.ts';
import { childOf, decodeNamespaceName, decodeObjectName, type ParseContext } from './parse-context.ts';

/** Name and place of an object. */
export interface Metadata {
  readonly name: string;
  /** Empty for a clusterwide object. */
  readonly namespace: string;
}

const isEmptyText = ({ node }: Field): boolean => node.kind === 'text' && node.value === '';

/**
 * Reads `metadata` of `parent`.
 * @returns undefined when there is no name or a wrong one; that is reported
 */
export function decodeMetadata(
  context: ParseContext,
  parent: Field,
  { clusterwide }: { readonly clusterwide: boolean },
): Metadata | undefined {
  const { decoder } = context;
  const field = childOf(parent, 'metadata');
  if (field === undefined) return decoder.missing(parent, 'metadata', 'it holds the name');
  const fields = decoder.fields(field, METADATA_FIELDS);
  if (fields === undefined) return undefined;
  const nameField = fields.get('name');
  const namespaceField = fields.get('namespace');
  const name =
    nameField === undefined ? decoder.missing(field, 'name') : decodeObjectName(decoder, nameField);
  if (clusterwide) {
    if (namespaceField !== undefined)
      decoder.warn(namespaceField, 'the object is clusterwide: its namespace has no effect', 'remove it');
    return name === undefined ? undefined : { name, namespace: '' };
  }
  const isNamed = namespaceField !== undefined && !isEmptyText(namespaceField);
  const namespace = isNamed ? decodeNamespaceName(decoder, namespaceField) : context.namespace;
  return name === undefined || namespace === undefined ? undefined : { name, namespace };
}

function decodeLabel(decoder: Decoder, field: Field, source: string, key: string): Label | undefined {
  const value = decoder.text(field);
  if (value === undefined) return undefined;
  try {
    return makeLabel(source, key, value);
  } catch (error) {
    if (!(error instanceof LabelError)) throw error;
    return decoder.report(field, 'VALUE', error.message, error.hint);
  }
}

/** The labels of an object, each with this source; in the order of the text. */
export function decodeObjectLabels(decoder: Decoder, parent: Field, source: string): Label[] {
  const field = childOf(childOf(parent, 'metadata'), 'labels');
  const entries = field === undefined ? [] : (decoder.entries(field) ?? []);
  return entries
    .map(({ key, value }) => decodeLabel(decoder, value, source, key))
    .filter((label) => label !== undefined);
}
