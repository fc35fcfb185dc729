import { isIPv4, isIPv6 } from 'node:net';
import { UsageError } from './errors.ts';

/** An address in network byte order: 4 bytes for IPv4, 16 for IPv6. */
export type IpBytes = Uint8Array;
export type IpFamily = 4 | 6;

/** `bytes` masked to `length` bits. */
export interface Cidr {
  readonly family: IpFamily;
  readonly bytes: IpBytes;
  /** Prefix length in bits: 0..32 or 0..128. */
  readonly length: number;
}

const DOT = 46;
const ZERO = 48;

/** By hand: node lists have ten thousands of them. */
function parseV4(text: string): IpBytes {
  const bytes = new Uint8Array(4);
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) at++;
    else bytes[at] = (bytes[at] ?? 0) * 10 + code - ZERO;
  }
  return bytes;
}

function groupsOf(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = parseV4(group);
    return [(a << 8) | b, (c << 8) | d];
  });
}

function parseV6(text: string): IpBytes {
  const [head = '', tail] = text.split('::');
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  const groups = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/**
 * Reads an address in text form (RFC 4291 §2.2, dotted quads without leading zeros; no zone).
 * @throws UsageError code IP_INVALID
 */
export function parseIp(text: string): IpBytes {
  if (isIPv4(text)) return parseV4(text);
  if (isIPv6(text) && !text.includes('%')) return parseV6(text);
  throw new UsageError(`${JSON.stringify(text)} is not an IP address`, { code: 'IP_INVALID' });
}

export function ipFamily(bytes: IpBytes): IpFamily {
  return bytes.length === 4 ? 4 : 6;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}

/** Canonical text: dotted quad, or RFC 5952 for IPv6. */
export function formatIp(bytes: IpBytes): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const { start, length } = longestZeroRun(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (start < 0) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** A copy of `bytes` whose bits from `length` on are zero. */
export function maskIp(bytes: IpBytes, length: number): IpBytes {
  return bytes.map((byte, i) => {
    const keep = Math.min(8, Math.max(0, length - 8 * i));
    return byte & (0xff00 >> keep) & 0xff;
  });
}

/**
 * Reads `address/length`, or a bare address as a host prefix. Host bits are dropped, as routing tables do.
 * @throws UsageError code CIDR_INVALID
 */
export function parseCidr(text: string): Cidr {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  const invalid = (): UsageError =>
    new UsageError(`${JSON.stringify(text)} is not a CIDR prefix`, { code: 'CIDR_INVALID' });
  if (!isIPv4(address) && (!isIPv6(address) || address.includes('%'))) throw invalid();
  const bytes = parseIp(address);
  const most = bytes.length * 8;
  const suffix = slash < 0 ? String(most) : text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(suffix) || Number(suffix) > most) throw invalid();
  return { family: ipFamily(bytes), bytes: maskIp(bytes, Number(suffix)), length: Number(suffix) };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.bytes)}/${cidr.length}`;
}

export function cidrContains(cidr: Cidr, address: IpBytes): boolean {
  return (
    ipFamily(address) === cidr.family && maskIp(address, cidr.length).every((b, i) => b === cidr.bytes[i])
  );
}
