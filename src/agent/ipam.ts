import { randomUUID } from 'node:crypto';
import { CiliateError, ExitCode } from '../base/errors.ts';
import {
  type Cidr,
  cidrContains,
  formatCidr,
  formatIp,
  type IpBytes,
  type IpFamily,
  parseIp,
} from '../base/ip.ts';

export type IpamErrorKind = 'outside' | 'in-use' | 'exhausted' | 'family-off' | 'not-allocated';

/** An address cannot be given or taken back. */
export class IpamError extends CiliateError {
  readonly kind: IpamErrorKind;

  constructor(kind: IpamErrorKind, message: string, hint?: string) {
    super(message, {
      code: `IPAM_${kind.toUpperCase().replace('-', '_')}`,
      exitCode: ExitCode.systemFailed,
      hint,
    });
    this.kind = kind;
  }
}

export interface Allocation {
  /** Address in text form. */
  readonly ip: string;
  readonly owner: string;
  /** With it the allocation ends by itself unless `confirm` names it in time. */
  readonly expirationUuid: string | undefined;
}

/** Owners whose addresses never change hands. */
export const IpamOwner = { router: 'router', health: 'health' } as const;

const EXPIRATION_MS = 10 * 60_000;
/** Of a larger range only so many are used: 2^24. */
const MOST_HOST_BITS = 24;

function addOffset(base: IpBytes, offset: number): IpBytes {
  const bytes = Uint8Array.from(base);
  let rest = offset;
  for (let i = bytes.length - 1; i >= 0 && rest > 0; i--) {
    rest += bytes[i] ?? 0;
    bytes[i] = rest & 0xff;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/** Addresses of one family out of one range. The range's first address is the network, its second the router. */
class Pool {
  readonly range: Cidr;
  readonly routerIp: string;
  readonly #size: number;
  readonly #allocations = new Map<string, Allocation>();
  #cursor = 1;

  constructor(range: Cidr) {
    this.range = range;
    this.#size = 2 ** Math.min(range.bytes.length * 8 - range.length, MOST_HOST_BITS);
    this.routerIp = formatIp(addOffset(range.bytes, 1));
    this.#allocations.set(this.routerIp, {
      ip: this.routerIp,
      owner: IpamOwner.router,
      expirationUuid: undefined,
    });
  }

  /** How many addresses there are for endpoints and the router: all but the network's and IPv4's broadcast. */
  get capacity(): number {
    return this.#size - (this.range.family === 4 ? 2 : 1);
  }

  get allocations(): ReadonlyMap<string, Allocation> {
    return this.#allocations;
  }

  /** The next free address after the one that was given last, so that a freed one rests for as long as possible. */
  next(owner: string, expirationUuid: string | undefined): Allocation {
    const last = this.capacity;
    for (let tried = 0; tried < last; tried++) {
      this.#cursor = this.#cursor >= last ? 1 : this.#cursor + 1;
      const ip = formatIp(addOffset(this.range.bytes, this.#cursor));
      if (!this.#allocations.has(ip)) return this.#put(ip, owner, expirationUuid);
    }
    throw new IpamError(
      'exhausted',
      `no address is free in ${formatCidr(this.range)}`,
      'give the node a larger range',
    );
  }

  take(ip: string, owner: string): Allocation {
    const bytes = parseIp(ip);
    const text = formatIp(bytes);
    const range = formatCidr(this.range);
    if (!cidrContains(this.range, bytes))
      throw new IpamError('outside', `${text} is not in this node's range ${range}`);
    const edge = [
      formatIp(this.range.bytes),
      this.range.family === 4 ? formatIp(addOffset(this.range.bytes, this.#size - 1)) : '',
    ];
    if (edge.includes(text))
      throw new IpamError('outside', `${text} is the network or broadcast address of ${range}`);
    const holder = this.#allocations.get(text);
    if (holder !== undefined) throw new IpamError('in-use', `${text} is already in use by ${holder.owner}`);
    return this.#put(text, owner, undefined);
  }

  rename(ip: string, owner: string): void {
    this.#put(ip, owner, undefined);
  }

  free(ip: string): boolean {
    return this.#allocations.delete(ip);
  }

  #put(ip: string, owner: string, expirationUuid: string | undefined): Allocation {
    const allocation = { ip, owner, expirationUuid };
    this.#allocations.set(ip, allocation);
    return allocation;
  }
}

export interface IpamOptions {
  readonly ipv4Range: Cidr | undefined;
  readonly ipv6Range: Cidr | undefined;
  /** How long an allocation with expiration lasts. Default 10 min. */
  readonly expirationMs?: number;
}

/** Addresses of this node's endpoints. */
export class Ipam {
  readonly #pools: Readonly<Record<IpFamily, Pool | undefined>>;
  readonly #expirationMs: number;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(options: IpamOptions) {
    const pool = (range: Cidr | undefined): Pool | undefined => range && new Pool(range);
    this.#pools = { 4: pool(options.ipv4Range), 6: pool(options.ipv6Range) };
    this.#expirationMs = options.expirationMs ?? EXPIRATION_MS;
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  enabled(family: IpFamily): boolean {
    return this.#pools[family] !== undefined;
  }

  range(family: IpFamily): Cidr | undefined {
    return this.#pools[family]?.range;
  }

  capacity(family: IpFamily): number {
    return this.#pools[family]?.capacity ?? 0;
  }

  /** The address that endpoints use as their gateway; undefined when the family is off. */
  routerIp(family: IpFamily): string | undefined {
    return this.#pools[family]?.routerIp;
  }

  /** @throws IpamError exhausted, family-off */
  allocateNext(family: IpFamily, owner: string, expires = false): Allocation {
    const allocation = this.#pool(family).next(owner, expires ? randomUUID() : undefined);
    if (expires) this.#expireLater(allocation);
    return allocation;
  }

  /** @throws IpamError outside, in-use, family-off; UsageError IP_INVALID */
  allocate(ip: string, owner: string): Allocation {
    return this.#pool(parseIp(ip).length === 4 ? 4 : 6).take(ip, owner);
  }

  /** The allocation of an address; undefined when it is free or not of this node. */
  holder(ip: string): Allocation | undefined {
    const bytes = parseIp(ip);
    return this.#pools[bytes.length === 4 ? 4 : 6]?.allocations.get(formatIp(bytes));
  }

  /** Gives an allocated address to `owner` for good: no expiration ends it any more. */
  confirm(ip: string, owner: string): void {
    const holder = this.holder(ip);
    if (holder === undefined) throw new IpamError('not-allocated', `${ip} is not allocated`);
    clearTimeout(this.#timers.get(holder.ip));
    this.#timers.delete(holder.ip);
    this.#pool(parseIp(ip).length === 4 ? 4 : 6).rename(holder.ip, owner);
  }

  /** @throws IpamError not-allocated, in-use for the router's, family-off */
  release(ip: string): void {
    const bytes = parseIp(ip);
    const pool = this.#pool(bytes.length === 4 ? 4 : 6);
    const text = formatIp(bytes);
    if (text === pool.routerIp) throw new IpamError('in-use', `${text} is the router's address`);
    if (!pool.free(text)) throw new IpamError('not-allocated', `${text} is not allocated`);
    clearTimeout(this.#timers.get(text));
    this.#timers.delete(text);
  }

  /** In the order of allocation. */
  allocations(family: IpFamily): readonly Allocation[] {
    return [...(this.#pools[family]?.allocations.values() ?? [])];
  }

  #pool(family: IpFamily): Pool {
    const pool = this.#pools[family];
    if (pool !== undefined) return pool;
    throw new IpamError(
      'family-off',
      `IPv${family} is off`,
      `give the node a range with --ipv${family}-range`,
    );
  }

  #expireLater({ ip, expirationUuid }: Allocation): void {
    const timer = setTimeout(() => {
      this.#timers.delete(ip);
      if (this.holder(ip)?.expirationUuid === expirationUuid) this.release(ip);
    }, this.#expirationMs).unref();
    this.#timers.set(ip, timer);
  }
}
