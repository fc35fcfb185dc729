import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { NotPermittedError, SystemError } from '../base/errors.ts';
import { type Cidr, formatCidr, parseCidr } from '../base/ip.ts';
import { type RunResult, run } from '../base/run.ts';
import { PacketMark } from '../model/constants.gen.ts';
import type { ClusterNode } from '../model/node.ts';
import type { EndpointSpec } from './endpoint.ts';
import type { NetworkSetup } from './network-setup.ts';

/** Marks the routes that are ours in the kernel's table (rtnetlink protocol, 0..255). */
export const ROUTE_PROTOCOL = 201;

/**
 * What the programs hand to the proxy is routed to this machine, whatever its address: by a rule for their mark, before
 * every rule but that of the machine's own addresses, and a table with one route.
 */
export const PROXY_ROUTING = { preference: 9, table: 2201 } as const;
const MARKED = `0x${PacketMark.toProxy.toString(16)}/0x${PacketMark.mask.toString(16)}`;
const PROXY_RULE = `fwmark ${MARKED} lookup ${PROXY_ROUTING.table} pref ${PROXY_ROUTING.preference}`;

export interface IpNetworkOptions {
  /** Devices to other nodes. */
  readonly devices: readonly string[];
  readonly ipv4Range: Cidr | undefined;
  readonly ipv6Range: Cidr | undefined;
}

export interface IpNetworkDeps {
  /** Runs `ip` with arguments and stdin. */
  readonly ip?: (args: readonly string[], input?: string) => Promise<RunResult>;
  /** Sets `net/ipv4/ip_forward` and such in this process's network namespace. */
  readonly setSysctl?: (name: string, value: string) => void;
}

const SYSCTL_ROOT = '/proc/sys/';
/** `ip -force -batch` goes on after these: what is to be removed is gone already. */
const GONE = /No such (process|file)|Cannot find device|does not exist/;
/** What was made before is there. */
const EXISTS = /File exists/;

function writeSysctl(name: string, value: string): void {
  const path = SYSCTL_ROOT + name;
  if (!existsSync(path) || readFileSync(path, 'utf8').trim() === value) return;
  try {
    writeFileSync(path, value);
  } catch (cause) {
    throw new NotPermittedError(`cannot set sysctl ${name} to ${value}`, {
      code: 'SYSCTL_REFUSED',
      hint: `set it on the host: sysctl -w ${name.replaceAll('/', '.')}=${value}`,
      cause,
    });
  }
}

/** What is read of `ip -json -details link`. */
interface Link {
  readonly ifindex?: number;
  readonly linkinfo?: { readonly info_kind?: string };
}

interface Route {
  readonly range: string;
  readonly via: string;
}

/** Kernel routing by `ip -batch`: direct routing between nodes, a host route per endpoint. */
export class IpNetworkSetup implements NetworkSetup {
  readonly #options: IpNetworkOptions;
  readonly #ip: (args: readonly string[], input?: string) => Promise<RunResult>;
  readonly #setSysctl: (name: string, value: string) => void;
  /** Range of another node -> its gateway, as installed. */
  #routes = new Map<string, string>();
  #routesRead = false;

  constructor(options: IpNetworkOptions, deps: IpNetworkDeps = {}) {
    this.#options = options;
    this.#ip = deps.ip ?? ((args, input) => run(['ip', ...args], { input }));
    this.#setSysctl = deps.setSysctl ?? writeSysctl;
  }

  async prepareNode(): Promise<void> {
    const { ipv4Range, ipv6Range, devices } = this.#options;
    if (ipv4Range !== undefined) this.#setSysctl('net/ipv4/ip_forward', '1');
    if (ipv6Range !== undefined) this.#setSysctl('net/ipv6/conf/all/forwarding', '1');
    // Traffic may come back by another device than the route out: the source check of the programs replaces rp_filter.
    for (const name of ['all', ...devices]) this.#setSysctl(`net/ipv4/conf/${name}/rp_filter`, '0');
    const ranges = [ipv4Range, ipv6Range].filter((range) => range !== undefined);
    // An address of this node that no endpoint has is unreachable, and never follows the default route out again.
    await this.#batch(
      ranges.map((range) => `route replace unreachable ${formatCidr(range)} proto ${ROUTE_PROTOCOL}`),
    );
    for (const { family } of ranges) await this.#routeToProxy(family);
    // The proxy speaks with its clients' ports, which may come again before a closed connection is forgotten.
    this.#setSysctl('net/ipv4/tcp_tw_reuse', '1');
  }

  async #routeToProxy(family: 4 | 6): Promise<void> {
    const { table } = PROXY_ROUTING;
    const lines = [
      `route replace local default dev lo table ${table} proto ${ROUTE_PROTOCOL}`,
      `rule add ${PROXY_RULE}`,
    ];
    await this.#batchTolerant(lines, EXISTS, [`-${family}`]);
  }

  async addEndpoint(spec: EndpointSpec): Promise<void> {
    const { interfaceName: device, mac } = spec;
    this.#setSysctl(`net/ipv4/conf/${device}/rp_filter`, '0');
    // What the node itself sends to the endpoint comes back in here when a proxy has to see it.
    this.#setSysctl(`net/ipv4/conf/${device}/accept_local`, '1');
    if (spec.ipv6 !== undefined) this.#enableIpv6(device);
    const lines = [`link set ${device} up`];
    for (const [address, length] of addressesOf(spec)) {
      lines.push(
        `route replace ${address}/${length} dev ${device} proto ${ROUTE_PROTOCOL}`,
        `neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`,
      );
    }
    await this.#batch(lines);
  }

  async removeEndpoint(spec: EndpointSpec): Promise<void> {
    const lines = addressesOf(spec).flatMap(([address, length]) => [
      `route del ${address}/${length} dev ${spec.interfaceName} proto ${ROUTE_PROTOCOL}`,
      `neigh del ${address} dev ${spec.interfaceName}`,
    ]);
    await this.#batchTolerant(lines);
  }

  async syncNodes(nodes: readonly ClusterNode[]): Promise<void> {
    if (!this.#routesRead) await this.#readRoutes();
    const wanted = new Map(nodes.flatMap(routesTo).map(({ range, via }) => [range, via]));
    const gone = [...this.#routes.keys()].filter((range) => !wanted.has(range));
    const added = [...wanted].filter(([range, via]) => this.#routes.get(range) !== via);
    await this.#batchTolerant(gone.map((range) => `route del ${range} proto ${ROUTE_PROTOCOL}`));
    for (const range of gone) this.#routes.delete(range);
    await this.#batch(
      added.map(([range, via]) => `route replace ${range} via ${via} proto ${ROUTE_PROTOCOL}`),
    );
    for (const [range, via] of added) this.#routes.set(range, via);
  }

  async interfaceIndex(name: string): Promise<number | undefined> {
    const link = await this.#link(name);
    return link?.ifindex === undefined ? undefined : Number(link.ifindex);
  }

  async interfaceKind(name: string): Promise<string | undefined> {
    const link = await this.#link(name);
    return link === undefined ? undefined : (link.linkinfo?.info_kind ?? '');
  }

  async #link(name: string): Promise<Link | undefined> {
    const { stdout, exitCode } = await this.#ip(['-json', '-details', 'link', 'show', 'dev', name]);
    if (exitCode !== 0) return undefined;
    const links: unknown = JSON.parse(stdout);
    const [link]: unknown[] = Array.isArray(links) ? links : [];
    return typeof link === 'object' && link !== null ? link : undefined;
  }

  async removeAll(): Promise<void> {
    for (const family of ['-4', '-6']) {
      const { stderr, exitCode } = await this.#ip([
        family,
        'route',
        'flush',
        'proto',
        String(ROUTE_PROTOCOL),
      ]);
      if (exitCode !== 0 && !GONE.test(stderr)) {
        throw new SystemError(`cannot remove routes: ${stderr.trim()}`, { code: 'ROUTES_NOT_REMOVED' });
      }
    }
    this.#routes.clear();
    for (const family of ['-4', '-6']) {
      const lines = [`rule del ${PROXY_RULE}`, `route flush table ${PROXY_ROUTING.table}`];
      await this.#batchTolerant(lines, GONE, [family]);
    }
  }

  /** A link-local address of the host side is not wanted, and the endpoint's address needs no duplicate detection. */
  #enableIpv6(device: string): void {
    this.#setSysctl(`net/ipv6/conf/${device}/addr_gen_mode`, '1');
    this.#setSysctl(`net/ipv6/conf/${device}/accept_ra`, '0');
    this.#setSysctl(`net/ipv6/conf/${device}/accept_dad`, '0');
    this.#setSysctl(`net/ipv6/conf/${device}/disable_ipv6`, '0');
  }

  /** What an earlier agent left: its routes with a gateway are those to other nodes. */
  async #readRoutes(): Promise<void> {
    for (const family of ['-4', '-6']) {
      const { stdout, exitCode } = await this.#ip([
        family,
        '-json',
        'route',
        'show',
        'proto',
        String(ROUTE_PROTOCOL),
      ]);
      if (exitCode !== 0) continue;
      const routes: unknown = JSON.parse(stdout === '' ? '[]' : stdout);
      for (const route of Array.isArray(routes) ? routes : []) {
        const { dst, gateway } = route as { dst?: unknown; gateway?: unknown };
        if (typeof dst === 'string' && typeof gateway === 'string')
          this.#routes.set(formatCidr(parseCidr(dst)), gateway);
      }
    }
    this.#routesRead = true;
  }

  async #batch(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const { stderr, exitCode } = await this.#ip(['-batch', '-'], `${lines.join('\n')}\n`);
    if (exitCode === 0) return;
    throw new SystemError(`ip refused: ${stderr.trim().split('\n').join('; ')}`, { code: 'ROUTE_REFUSED' });
  }

  async #batchTolerant(
    lines: readonly string[],
    tolerated = GONE,
    options: readonly string[] = [],
  ): Promise<void> {
    if (lines.length === 0) return;
    const argv = [...options, '-force', '-batch', '-'];
    const { stderr, exitCode } = await this.#ip(argv, `${lines.join('\n')}\n`);
    if (exitCode === 0) return;
    const others = stderr
      .split('\n')
      .filter((line) => line.trim() !== '' && !tolerated.test(line) && !line.startsWith('Command failed'));
    if (others.length > 0)
      throw new SystemError(`ip refused: ${others.join('; ')}`, { code: 'ROUTE_REFUSED' });
  }
}

function addressesOf(spec: EndpointSpec): (readonly [string, 32 | 128])[] {
  const pairs: (readonly [string, 32 | 128])[] = [];
  if (spec.ipv4 !== undefined) pairs.push([spec.ipv4, 32]);
  if (spec.ipv6 !== undefined) pairs.push([spec.ipv6, 128]);
  return pairs;
}

function routesTo(node: ClusterNode): Route[] {
  const routes: Route[] = [];
  const add = (range: string | undefined, via: string | undefined): void => {
    if (range !== undefined && via !== undefined) routes.push({ range: formatCidr(parseCidr(range)), via });
  };
  add(node.ipv4AllocRange, node.ipv4);
  add(node.ipv6AllocRange, node.ipv6);
  return routes;
}
