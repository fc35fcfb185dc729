import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { decodeCidr, decodeCidrSpec } from './parse-cidr.ts';
import { decodeFqdn } from './parse-dns.ts';
import { decodeSelector } from './parse-selector.ts';
import { decodeServices } from './parse-services.ts';
import { ENTITIES, type Entity, type Peers } from './rule.ts';

/** Entities whose identities only parts of Kubernetes give that do not exist here. */
const UNASSIGNED: Readonly<Partial<Record<Entity, string>>> = {
  unmanaged: 'pods without an agent are not followed, so that nobody has this identity: it matches nobody',
  ingress: 'there is no controller of ingresses, so that nobody has this identity: it matches nobody',
};

function decodeEntity(decoder: Decoder, field: Field): Entity | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  const known = ENTITIES.find((entity) => entity === text);
  if (known !== undefined) {
    const nobody = UNASSIGNED[known];
    if (nobody !== undefined) decoder.warn(field, nobody, 'name the addresses with a CIDR rule');
    return known;
  }
  return decoder.report(
    field,
    'VALUE',
    `${quote(text)} is not a known entity`,
    suggestion(text, ENTITIES) ?? `known: ${ENTITIES.join(', ')}`,
  );
}

type DecodeList = (decoder: Decoder, items: readonly Field[]) => Peers;

function each<T>(items: readonly Field[], decode: (item: Field) => T | undefined): T[] {
  return items.map(decode).filter((item) => item !== undefined);
}

/** As in Cilium, nodes have labels only where an option of the agent says so, and rules about them are refused elsewhere. */
function checkNodeLabels(decoder: Decoder, item: Field): void {
  if (decoder.nodeLabels === true) return;
  const hint = 'start agents with --enable-node-selector-labels';
  if (decoder.nodeLabels === false)
    decoder.report(item, 'UNSUPPORTED', 'labels of nodes make no identities at this agent', hint);
  else decoder.warn(item, 'an agent takes rules about labels of nodes only if an option says so', hint);
}

/** How the entries of each kind of peers are read; the name of the field is `from` or `to` and this suffix. */
const DECODE: readonly (readonly [suffix: string, decode: DecodeList])[] = [
  [
    'Endpoints',
    (decoder, items) => ({
      kind: 'endpoints',
      selectors: each(items, (item) => decodeSelector(decoder, item)),
    }),
  ],
  [
    'Entities',
    (decoder, items) => ({ kind: 'entities', entities: each(items, (item) => decodeEntity(decoder, item)) }),
  ],
  ['CIDR', (decoder, items) => ({ kind: 'cidrs', cidrs: each(items, (item) => decodeCidr(decoder, item)) })],
  [
    'CIDRSet',
    (decoder, items) => ({ kind: 'cidr-sets', sets: each(items, (item) => decodeCidrSpec(decoder, item)) }),
  ],
  [
    'Services',
    (decoder, items) => ({
      kind: 'services',
      services: items.flatMap((item) => decodeServices(decoder, item)),
    }),
  ],
  ['FQDNs', (decoder, items) => ({ kind: 'fqdns', names: each(items, (item) => decodeFqdn(decoder, item)) })],
  [
    'Nodes',
    (decoder, items) => {
      for (const item of items) checkNodeLabels(decoder, item);
      return { kind: 'nodes', selectors: each(items, (item) => decodeSelector(decoder, item)) };
    },
  ],
];

/** One field of peers: what it holds, and whether it names any. */
interface FoundPeers {
  readonly name: string;
  readonly field: Field;
  readonly peers: Peers;
  readonly filled: boolean;
}

/**
 * Reads the peers of an item. Lists of two kinds cannot both name peers; an empty one beside another has no effect, an
 * empty one alone selects nobody.
 */
export function decodePeers(
  decoder: Decoder,
  fields: ReadonlyMap<string, Field>,
  prefix: 'from' | 'to',
): Peers | undefined {
  const found: FoundPeers[] = [];
  for (const [suffix, decode] of DECODE) {
    const name = `${prefix}${suffix}`;
    const field = fields.get(name);
    const items = field && decoder.items(field);
    if (field === undefined || items === undefined) continue;
    found.push({ name, field, peers: decode(decoder, items), filled: items.length > 0 });
  }
  const [first, ...others] = found.filter(({ filled }) => filled);
  for (const { name, field } of others) {
    const reason = `${first?.name} and ${name} cannot stand in one item`;
    decoder.report(field, 'CONFLICT', reason, 'make two items of it');
  }
  return (first ?? found[0])?.peers;
}
