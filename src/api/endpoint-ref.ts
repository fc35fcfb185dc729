/** The ways to name an endpoint in a path: `{prefix}:{value}`. */
export const ENDPOINT_PREFIXES = [
  'cilium-local',
  'cilium-global',
  'container-id',
  'container-name',
  'docker-endpoint',
  'pod-name',
  'ipv4',
  'ipv6',
  'cep-name',
  'cni-attachment-id',
] as const;

export type EndpointPrefix = (typeof ENDPOINT_PREFIXES)[number];

/**
 * An endpoint as a caller names it. `cilium-local` carries the node-local id (1..65535); the values of all others are
 * texts, those of `pod-name` and `cep-name` being `namespace/name`.
 */
export type EndpointRef =
  | { readonly kind: 'cilium-local'; readonly id: number }
  | { readonly kind: Exclude<EndpointPrefix, 'cilium-local'>; readonly value: string };

const MAX_ENDPOINT_ID = 0xffff;

/**
 * Reads an endpoint's name: a bare number is a local id, all else needs a known prefix. `pod-name` may separate
 * namespace and name by `:` (2018) or `/`.
 * @returns the reason as text when it is none.
 */
export function parseEndpointRef(text: string): EndpointRef | string {
  const colon = text.indexOf(':');
  const prefix = colon < 0 ? 'cilium-local' : text.slice(0, colon);
  const value = colon < 0 ? text : text.slice(colon + 1);
  if (!isEndpointPrefix(prefix)) {
    return `unknown prefix ${JSON.stringify(prefix)}, known are ${ENDPOINT_PREFIXES.join(', ')}`;
  }
  if (prefix === 'cilium-local') return localRef(value);
  if (value === '') return `nothing after the prefix ${prefix}:`;
  if (prefix === 'pod-name' || prefix === 'cep-name') return { kind: prefix, value: value.replace(':', '/') };
  return { kind: prefix, value };
}

/** The canonical text of a reference: `cilium-local:12` as `12`. */
export function formatEndpointRef(ref: EndpointRef): string {
  return ref.kind === 'cilium-local' ? String(ref.id) : `${ref.kind}:${ref.value}`;
}

function isEndpointPrefix(text: string): text is EndpointPrefix {
  return (ENDPOINT_PREFIXES as readonly string[]).includes(text);
}

function localRef(value: string): EndpointRef | string {
  const id = /^\d{1,5}$/.test(value) ? Number(value) : 0;
  if (id < 1 || id > MAX_ENDPOINT_ID)
    return `expected a number from 1 to ${MAX_ENDPOINT_ID}, got ${JSON.stringify(value)}`;
  return { kind: 'cilium-local', id };
}
