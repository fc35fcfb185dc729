import type { Decoder, Field } from './decoder.ts';
import { SERVICE_FIELDS, SERVICE_NAME_FIELDS, SERVICE_SELECTOR_FIELDS } from './fields.ts';
import { decodeSelector } from './parse-selector.ts';
import type { ServiceSpec } from './rule.ts';

function decodeNamespace(decoder: Decoder, field: Field | undefined): string | undefined {
  return field === undefined ? '' : decoder.text(field);
}

function decodeByName(decoder: Decoder, field: Field): ServiceSpec | undefined {
  const fields = decoder.fields(field, SERVICE_NAME_FIELDS);
  if (fields === undefined) return undefined;
  const nameField = fields.get('serviceName');
  const name = nameField === undefined ? decoder.missing(field, 'serviceName') : decoder.text(nameField);
  const namespace = decodeNamespace(decoder, fields.get('namespace'));
  if (nameField !== undefined && name === '')
    return decoder.report(nameField, 'VALUE', 'the name of the service is empty');
  return name === undefined || namespace === undefined ? undefined : { kind: 'name', name, namespace };
}

function decodeBySelector(decoder: Decoder, field: Field): ServiceSpec | undefined {
  const fields = decoder.fields(field, SERVICE_SELECTOR_FIELDS);
  if (fields === undefined) return undefined;
  const selectorField = fields.get('selector');
  const selector =
    selectorField === undefined
      ? decoder.missing(field, 'selector', 'write {} for every service')
      : decodeSelector(decoder, selectorField);
  const namespace = decodeNamespace(decoder, fields.get('namespace'));
  return selector === undefined || namespace === undefined
    ? undefined
    : { kind: 'selector', selector, namespace };
}

/** Reads an entry of `toServices`; one that has both forms selects the services of both. */
export function decodeServices(decoder: Decoder, field: Field): ServiceSpec[] {
  const fields = decoder.fields(field, SERVICE_FIELDS);
  if (fields === undefined) return [];
  if (fields.size === 0) decoder.missing(field, 'k8sService', 'write k8sService or k8sServiceSelector');
  const named = fields.get('k8sService');
  const selected = fields.get('k8sServiceSelector');
  return [named && decodeByName(decoder, named), selected && decodeBySelector(decoder, selected)].filter(
    (service) => service !== undefined,
  );
}
