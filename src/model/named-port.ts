import { Protocol } from './map-state.ts';

/** A port that an endpoint gave a name. */
export interface NamedPort {
  readonly name: string;
  /** IANA number: 6, 17 or 132. */
  readonly protocol: number;
  /** 1..65535, host order. */
  readonly port: number;
}

/** Most ports of one endpoint that count. */
export const MAX_NAMED_PORTS = 256;

const PROTOCOLS: readonly number[] = [Protocol.tcp, Protocol.udp, Protocol.sctp];

/** Letters, digits and single dashes inside, one letter at least, 15 characters at most (IANA_SVC_NAME, RFC 6335 §5.1). */
export function isPortName(text: string): boolean {
  return text.length <= 15 && /^[a-z0-9]+(?:-[a-z0-9]+)*$/i.test(text) && /[a-z]/i.test(text);
}

/** Whether a value that somebody else wrote is a list of named ports. */
export function areNamedPorts(value: unknown): value is readonly NamedPort[] {
  if (!Array.isArray(value) || value.length > MAX_NAMED_PORTS) return false;
  return value.every((item: unknown) => {
    if (typeof item !== 'object' || item === null) return false;
    const { name, protocol, port } = item as Readonly<Record<string, unknown>>;
    const fits = typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536;
    return fits && typeof name === 'string' && isPortName(name) && PROTOCOLS.includes(Number(protocol));
  });
}
