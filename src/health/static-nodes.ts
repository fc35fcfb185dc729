import { readFileSync, statSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import type { NodeAddressing, NodeElement } from '../api/schema.ts';
import { closestName } from '../base/did-you-mean.ts';
import { type CiliateError, errnoOf, errorText, NotPermittedError, UsageError } from '../base/errors.ts';
import { formatIp, type IpBytes, type IpFamily, ipFamily, parseIp } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { Clock } from './clock.ts';
import type { NodeProvider, NodeView } from './node-view.ts';
import { type HealthNode, healthNode, hostTargets } from './targets.ts';

/** How an address of the short form is named, and where it stands in a node of the API. */
const SHORT_KEYS = ['ipv4', 'ipv6', 'ipv4HealthIp', 'ipv6HealthIp'] as const;
const BOTH_KEYS = ['name', 'zone'] as const;
const LONG_KEYS = [
  ...BOTH_KEYS,
  'primary-address',
  'secondary-addresses',
  'health-endpoint-address',
  'ingress-address',
  'source',
] as const;

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(where: string, why: string, cause?: unknown): UsageError {
  return new UsageError(`node list ${where}: ${why}`, {
    code: 'NODE_LIST_INVALID',
    hint: 'a list of `{name, zone, ipv4, ipv6, ipv4HealthIp, ipv6HealthIp}`, or the output of `ciliate node list -o json`',
    cause,
  });
}

/** What cannot be read at all: no word on the form of a list helps. */
function unreadable(file: string, cause: unknown): CiliateError {
  const errno = errnoOf(cause);
  const Refused = errno === 'EACCES' || errno === 'EPERM' ? NotPermittedError : UsageError;
  const hint =
    errno === 'ENOENT' || errno === 'EISDIR'
      ? '--nodes names a file of JSON or YAML: docs/health.md shows one'
      : undefined;
  return new Refused(`cannot read the node list ${file}`, { code: 'NODE_LIST_UNREADABLE', hint, cause });
}

/** @param family that it must have; undefined: either */
function element(
  ip: unknown,
  where: string,
  family?: IpFamily,
): { enabled: boolean; ip: string } | undefined {
  if (ip === undefined || ip === null || ip === '') return undefined;
  if (typeof ip !== 'string') throw invalid(where, 'an address must be text');
  let address: IpBytes;
  try {
    address = parseIp(ip);
  } catch (cause) {
    throw invalid(where, 'no address', cause);
  }
  if (family !== undefined && ipFamily(address) !== family) {
    throw invalid(where, `${formatIp(address)} is an address of IPv${ipFamily(address)}`);
  }
  if (family !== undefined && isOfLink(address))
    throw invalid(where, `${formatIp(address)} is of one link, and does not say of which`);
  if (!isOfOne(address)) throw invalid(where, `${formatIp(address)} is the address of no node`);
  return { enabled: true, ip: formatIp(address) };
}

/** RFC 4291 §2.5.6: without a device nobody can be reached by it. */
function isOfLink(address: IpBytes): boolean {
  const [first = 0, second = 0] = address;
  return ipFamily(address) === 6 && first === 0xfe && (second & 0xc0) === 0x80;
}

/** Neither a group's (RFC 5771, RFC 4291 §2.7) nor everybody's nor nobody's. */
function isOfOne(address: IpBytes): boolean {
  const [first = 0] = address;
  const isGroup = ipFamily(address) === 4 ? first >= 224 && first < 240 : first === 0xff;
  return !isGroup && !address.every((byte) => byte === 0) && !address.every((byte) => byte === 0xff);
}

function fromShort(node: Readonly<Record<string, unknown>>, where: string): HealthNode {
  const unknown = Object.keys(node).find(
    (key) => ![...BOTH_KEYS, ...SHORT_KEYS].some((known) => known === key),
  );
  if (unknown !== undefined) throw invalid(where, `no such field ${JSON.stringify(unknown)}`);
  const found = healthNode({
    name: String(node.name),
    ...zoneOf(node.zone, where),
    'primary-address': {
      ipv4: element(node.ipv4, `${where}.ipv4`, 4),
      ipv6: element(node.ipv6, `${where}.ipv6`, 6),
    },
    'health-endpoint-address': {
      ipv4: element(node.ipv4HealthIp, `${where}.ipv4HealthIp`, 4),
      ipv6: element(node.ipv6HealthIp, `${where}.ipv6HealthIp`, 6),
    },
  });
  return withAddress(found, where, '`ipv4`, `ipv6` or both');
}

/** A node that has none of its own would stay unknown for good, and nobody would be told why. */
function withAddress(node: HealthNode, where: string, which: string): HealthNode {
  if (hostTargets(node).length === 0) throw invalid(where, `a node needs an address: ${which}`);
  return node;
}

function isLong(node: Readonly<Record<string, unknown>>): boolean {
  const keys = Object.keys(node);
  const isOf = (list: readonly string[]) => (key: string) => list.includes(key);
  return keys.every(isOf(LONG_KEYS)) && !keys.every(isOf(BOTH_KEYS));
}

function fromLong(node: Readonly<Record<string, unknown>>, where: string): HealthNode {
  const found = healthNode({ ...(node as NodeElement), ...zoneOf(node.zone, where) });
  for (const key of ['primary-address', 'health-endpoint-address'] as const) {
    checkFamilies((node as NodeElement)[key], `${where}.${key}`);
  }
  for (const { address } of found.targets) element(address, where);
  return withAddress(found, where, 'one of `primary-address` that is enabled');
}

/** What is not enabled is not probed: it may be anything. */
function checkFamilies(addressing: NodeAddressing | null | undefined, where: string): void {
  for (const family of [4, 6] as const) {
    const found = addressing?.[`ipv${family}`];
    if (found?.enabled === true) element(found.ip, `${where}.ipv${family}`, family);
  }
}

/**
 * Reads a node list of JSON or YAML.
 * @throws UsageError code NODE_LIST_INVALID naming the place
 */
export function parseNodeList(text: string, file: string): HealthNode[] {
  let parsed: unknown;
  try {
    parsed = parseYaml(text);
  } catch (cause) {
    // What follows the first line is a picture of the place: status and log have one line for all.
    const [first = ''] = errorText(cause).split('\n');
    throw invalid(file, `neither YAML nor JSON: ${first.replace(/:$/, '')}`);
  }
  const list = isRecord(parsed) ? parsed.nodes : parsed;
  if (!Array.isArray(list)) throw invalid(file, 'neither a list nor an object with a list `nodes`');
  const names = new Set<string>();
  const owners = new Map<string, string>();
  return list.map((node: unknown, i) => {
    const where = `${file}[${i}]`;
    if (!isRecord(node)) throw invalid(where, 'not an object');
    const { name } = node;
    if (name === undefined || name === null || name === '')
      throw invalid(`${where}.name`, 'a node needs a name');
    if (typeof name !== 'string')
      throw invalid(`${where}.name`, `a name must be text: ${JSON.stringify(String(name))} in quotes`);
    if (names.has(name)) throw invalid(`${where}.name`, `a second node named ${JSON.stringify(name)}`);
    names.add(name);
    const found = isLong(node) ? fromLong(node, where) : fromShort(node, where);
    takeAddresses(owners, found, where);
    return found;
  });
}

/** An address of two nodes would be one path with two names: which of them is down, nobody could say. */
function takeAddresses(owners: Map<string, string>, { name, targets }: HealthNode, where: string): void {
  for (const { address } of targets) {
    const owner = owners.get(address);
    if (owner !== undefined && owner !== name) {
      throw invalid(where, `${address} is an address of ${JSON.stringify(owner)} too`);
    }
    owners.set(address, name);
  }
}

function zoneOf(zone: unknown, where: string): { readonly zone?: string } {
  if (zone === undefined || zone === null || zone === '') return {};
  if (typeof zone !== 'string') throw invalid(`${where}.zone`, 'a zone must be text');
  return { zone };
}

/**
 * Reads the node list of a file.
 * @throws UsageError code NODE_LIST_INVALID, NODE_LIST_UNREADABLE; NotPermittedError code NODE_LIST_UNREADABLE
 */
export function readNodeList(file: string): HealthNode[] {
  try {
    return parseNodeList(readFileSync(file, 'utf8'), file);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw unreadable(file, cause);
  }
}

const POLL_MS = 2000;

export interface StaticNodesDeps {
  readonly clock: Clock;
  /** Addresses of this machine, in text form: where it stands in the list, if nobody told its name. */
  readonly ownAddresses: () => ReadonlySet<string>;
  readonly log: Logger;
}

/** Another text whenever the file is another one, or was written. @throws as `readNodeList` */
function versionOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** A file that is the node list; read again when it changes. A change that does not parse is told, and the last list stays. */
class StaticNodes implements NodeProvider {
  readonly #file: string;
  readonly #told: string | undefined;
  readonly #deps: StaticNodesDeps;
  readonly #listeners: (() => void)[] = [];
  #nodes: HealthNode[] = [];
  #self: string | undefined;
  #stale: NodeView['stale'];
  #seen = '';
  #cancel: (() => void) | undefined;

  constructor(file: string, self: string | undefined, deps: StaticNodesDeps) {
    this.#file = file;
    this.#told = self;
    this.#deps = deps;
  }

  async start(): Promise<void> {
    this.#read();
    this.#tellOdd();
    this.#watch();
  }

  async stop(): Promise<void> {
    this.#cancel?.();
  }

  view(): NodeView {
    return { self: this.#self, nodes: this.#nodes, stale: this.#stale };
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Says what of the list is likely a slip. An empty one is taken as it stands: written `[]`, for an empty file is more likely
   * half a write. A node that is not in it probes, but no other takes what it measures.
   */
  #tellOdd(): void {
    const { log } = this.#deps;
    const told = this.#told;
    if (this.#nodes.length === 0) {
      log.warn({ file: this.#file }, 'the node list is empty: nothing is probed');
    } else if (told === undefined && this.#self === undefined) {
      const text =
        'which node of the list this is, its addresses do not say: others get no rows of it; say --node-name';
      log.warn({ file: this.#file }, text);
    } else if (told !== undefined && !this.#nodes.some(({ name }) => name === told)) {
      const meant = closestName(
        told,
        this.#nodes.map(({ name }) => name),
      );
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
      log.warn(
        { file: this.#file },
        `no node of the list has the name of --node-name: others get no rows of it${hint}`,
      );
    }
  }

  /** The name that was told, else that of the only node with an address of this machine. */
  #findSelf(nodes: readonly HealthNode[]): string | undefined {
    if (this.#told !== undefined) return this.#told;
    const own = this.#deps.ownAddresses();
    const here = nodes.filter(({ targets }) => targets.some((t) => t.kind === 'node' && own.has(t.address)));
    return here.length === 1 ? here[0]?.name : undefined;
  }

  #watch(): void {
    this.#cancel = this.#deps.clock.after(POLL_MS, () => {
      this.#renew();
      this.#watch();
    });
  }

  #renew(): void {
    const { clock, log } = this.#deps;
    try {
      if (!this.#read()) return;
      if (this.#stale !== undefined) log.info({ nodes: this.#nodes.length }, 'the node list is renewed');
      this.#stale = undefined;
      this.#tellOdd();
      for (const listener of this.#listeners) listener();
    } catch (error) {
      const reason = errorText(error);
      if (reason !== this.#stale?.reason)
        log.warn({ reason }, 'the node list cannot be renewed: the last one stays');
      this.#stale = { sinceMs: this.#stale?.sinceMs ?? clock.wallMs(), reason };
    }
  }

  /** @returns whether the file was read anew */
  #read(): boolean {
    const seen = versionOf(this.#file);
    if (seen === this.#seen && this.#stale === undefined) return false;
    this.#nodes = readNodeList(this.#file);
    this.#self = this.#findSelf(this.#nodes);
    this.#seen = seen;
    return true;
  }
}

/** Node list of a machine without an agent. */
export function createStaticNodes(
  options: { readonly file: string; readonly self?: string | undefined },
  deps: StaticNodesDeps,
): NodeProvider {
  return new StaticNodes(options.file, options.self, deps);
}
