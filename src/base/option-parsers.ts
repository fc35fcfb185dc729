import { isIP } from 'node:net';
import { UsageError } from './errors.ts';
import { type Cidr, parseCidr } from './ip.ts';

const invalid = (message: string): UsageError => new UsageError(message, { code: 'OPTION_INVALID' });

/** `true`, `false`, `yes`, `no`, `on`, `off`, `1`, `0`. */
export function parseBoolean(text: string): boolean {
  if (/^(true|yes|on|1|enabled)$/i.test(text)) return true;
  if (/^(false|no|off|0|disabled)$/i.test(text)) return false;
  throw invalid(`${JSON.stringify(text)} is neither true nor false`);
}

/** A whole decimal number in [min, max]. */
export function parseInteger(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw invalid(`${JSON.stringify(text)} is not a whole number from ${min} to ${max}`);
  };
}

export function parseOneOf<const V extends string>(...values: readonly V[]): (text: string) => V {
  return (text) => {
    const found = values.find((value) => value === text);
    if (found !== undefined) return found;
    throw invalid(`${JSON.stringify(text)} is none of ${values.join(', ')}`);
  };
}

/** Items between commas; empty text is the empty list. */
export function parseList<T>(item: (text: string) => T): (text: string) => readonly T[] {
  return (text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .map(item);
}

/** Empty text is "not set". */
export function parseOptional<T>(value: (text: string) => T): (text: string) => T | undefined {
  return (text) => (text === '' ? undefined : value(text));
}

/** A prefix of one family whose host bits are zero. */
export function parseRange(family: 4 | 6): (text: string) => Cidr {
  return (text) => {
    const cidr = parseCidr(text);
    if (cidr.family !== family) throw invalid(`${JSON.stringify(text)} is not an IPv${family} prefix`);
    return cidr;
  };
}

/** An address of one family, as text. */
export function parseAddress(family: 4 | 6): (text: string) => string {
  return (text) => {
    if (isIP(text) === family && !text.includes('%')) return text;
    throw invalid(`${JSON.stringify(text)} is not an IPv${family} address`);
  };
}

export interface ListenAddress {
  /** Undefined: none was named; the server has its own default. */
  readonly host: string | undefined;
  /** Host order; 0 lets the kernel choose. */
  readonly port: number;
}

/** `:9962`, `127.0.0.1:9962`, `[::1]:9962`, `localhost:9962`. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (match === null || port > 65535) throw invalid(`${JSON.stringify(text)} is not ADDRESS:PORT`);
  if (match[1] !== undefined && isIP(host) !== 6)
    throw invalid(`${JSON.stringify(host)} is not an IPv6 address`);
  return { host: host === '' ? undefined : host, port };
}

/** An absolute path. */
export function parseAbsolutePath(text: string): string {
  if (text.startsWith('/')) return text;
  throw invalid(`${JSON.stringify(text)} is not an absolute path`);
}

/** A name as in a Host header, without a port. */
export function parseHostName(text: string): string {
  if (/^\w([-.\w]{0,251}\w)?$/.test(text)) return text;
  throw invalid(`${JSON.stringify(text)} is not the name of a host (letters, digits, -, _ and ., no port)`);
}

/** A name of a node: what DNS and Kubernetes allow. */
export function parseNodeName(text: string): string {
  if (/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/i.test(text)) return text;
  throw invalid(`${JSON.stringify(text)} is not a node name (letters, digits, - and .)`);
}
