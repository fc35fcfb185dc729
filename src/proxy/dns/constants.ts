/** Numbers of RFC 1035, 6891 (EDNS) and 9460 (SVCB), and limits of the proxy. */

export const HEADER_BYTES = 12;
/** Of a name on the wire, with the length bytes and the root's: RFC 1035 §3.1. */
export const MAX_NAME_BYTES = 255;
export const MAX_LABEL_BYTES = 63;

/** Bits of the second word of a header. */
export const Flag = {
  response: 0x8000,
  opcode: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  rcode: 0x000f,
} as const;

export const Rcode = { noError: 0, formatError: 1, serverFailure: 2, notImplemented: 4, refused: 5 } as const;

export const RecordType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;

const TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(RecordType).map(([name, type]) => [type, name]),
);

/** `A`, `AAAA` ..., or `TYPE99` (RFC 3597 §5). */
export function recordTypeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `TYPE${type}`;
}

/** Longest query that a client may send as a datagram; answers may be as long as a datagram can be. */
export const MAX_UDP_QUERY_BYTES = 4096;
