import { isPortName } from '../model/named-port.ts';
import { type Decoder, type Field, type FieldTable, quote, suggestion } from './decoder.ts';
import type { PortSpec } from './rule.ts';

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
const MAX_PORT = 65535;

function decodePort(decoder: Decoder, field: Field | undefined): number | string | undefined {
  if (field === undefined) return 0;
  if (field.node.kind === 'number') return decoder.integer(field, 1, MAX_PORT);
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  if (isPortName(text)) return text.toLowerCase();
  return decoder.report(
    field,
    'VALUE',
    `${quote(text)} is not the name of a port`,
    'write numbers without quotes; a name has letters, digits and single dashes, at most 15',
  );
}

function decodeProtocol(decoder: Decoder, field: Field | undefined): PortSpec['protocol'] | undefined {
  if (field === undefined) return 'TCP';
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  const known = PROTOCOLS.find((protocol) => protocol === text);
  if (known !== undefined) return known;
  return decoder.report(
    field,
    'VALUE',
    `${quote(text)} is not a protocol of a NetworkPolicy`,
    suggestion(text, PROTOCOLS),
  );
}

function decodeEndPort(decoder: Decoder, field: Field, port: number | string): number | undefined {
  const endPort = decoder.integer(field, 1, MAX_PORT);
  if (endPort === undefined) return undefined;
  if (typeof port === 'string' || port === 0)
    return decoder.report(field, 'CONFLICT', 'endPort needs a port with a number', 'write port: 8000');
  if (endPort < port)
    return decoder.report(field, 'VALUE', `endPort ${endPort} is less than port ${port}`, 'swap them');
  return endPort === port ? undefined : endPort;
}

/** Reads an entry of `ports` of a NetworkPolicy: TCP unless it says otherwise, every port unless it names one. */
export function decodeNetworkPolicyPort(
  decoder: Decoder,
  field: Field,
  table: FieldTable,
): PortSpec | undefined {
  const fields = decoder.fields(field, table);
  if (fields === undefined) return undefined;
  const port = decodePort(decoder, fields.get('port'));
  const protocol = decodeProtocol(decoder, fields.get('protocol'));
  if (port === undefined || protocol === undefined) return undefined;
  const endField = fields.get('endPort');
  return { port, endPort: endField && decodeEndPort(decoder, endField, port), protocol };
}
