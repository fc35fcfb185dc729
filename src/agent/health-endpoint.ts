import { existsSync, statSync } from 'node:fs';
import { SystemError } from '../base/errors.ts';
import { run, runChecked } from '../base/run.ts';
import type { Endpoint } from './endpoint.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import { type Ipam, IpamOwner } from './ipam.ts';

/** Host side of the health endpoint's link. */
export const HEALTH_INTERFACE = 'lxc_health';
const INNER_INTERFACE = 'eth0';
const LABEL = 'reserved:health';
const NAME = 'health';

export interface HealthEndpointDeps {
  readonly manager: EndpointManager;
  readonly ipam: Ipam;
}

/** An endpoint in a network namespace of its own, whose only purpose is to be probed. Identity 4, `reserved:health`. */
export class HealthEndpoint {
  readonly #netns: string;
  readonly #deps: HealthEndpointDeps;

  /** @param netns name of the namespace, unique on this machine */
  constructor(netns: string, deps: HealthEndpointDeps) {
    this.#netns = netns;
    this.#deps = deps;
  }

  /** Handle of its namespace. */
  get netnsPath(): string {
    return `/run/netns/${this.#netns}`;
  }

  /** Changes when the namespace is another one: `device:inode`. */
  get netnsId(): string {
    const stat = statSync(this.netnsPath, { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? '' : `${stat.dev}:${stat.ino}`;
  }

  find(): Endpoint | undefined {
    return this.#deps.manager
      .list()
      .find(({ labels }) => labels.some(({ source, key }) => `${source}:${key}` === LABEL));
  }

  /** Makes the endpoint, unless it is there already, whole. */
  async ensure(): Promise<Endpoint> {
    const found = this.find();
    if (found !== undefined && !found.isEnding && existsSync(this.netnsPath)) return found;
    if (found !== undefined) await this.#deps.manager.remove(found);
    await this.#removeLink();
    try {
      return await this.#create();
    } catch (error) {
      await this.#removeLink();
      throw error;
    }
  }

  /** Removes the endpoint with its namespace. */
  async remove(): Promise<void> {
    const found = this.find();
    if (found !== undefined) await this.#deps.manager.remove(found);
    await this.#removeLink();
  }

  async #create(): Promise<Endpoint> {
    const { manager, ipam } = this.#deps;
    await runChecked(['ip', 'netns', 'add', this.#netns]);
    await runChecked([
      ...['ip', 'link', 'add', HEALTH_INTERFACE, 'type', 'veth'],
      ...['peer', 'name', INNER_INTERFACE, 'netns', this.#netns],
    ]);
    const host = await readLink(HEALTH_INTERFACE, []);
    const inner = await readLink(INNER_INTERFACE, ['-n', this.#netns]);
    const ipv4 = ipam.enabled(4) ? ipam.allocateNext(4, IpamOwner.health).ip : undefined;
    const ipv6 = ipam.enabled(6) ? ipam.allocateNext(6, IpamOwner.health).ip : undefined;
    try {
      const endpoint = await manager.create(
        { kind: 'container-name', value: NAME },
        {
          state: 'waiting-for-identity',
          labels: [LABEL],
          'container-name': NAME,
          'container-netns-path': this.netnsPath,
          'container-interface-name': INNER_INTERFACE,
          'interface-name': HEALTH_INTERFACE,
          'interface-index': host.index,
          mac: inner.mac,
          'host-mac': host.mac,
          addressing: { ipv4, ipv6 },
          'sync-build-endpoint': true,
        },
      );
      await this.#configure(ipv4, ipv6);
      return endpoint;
    } catch (error) {
      for (const ip of [ipv4, ipv6]) if (ip !== undefined && ipam.holder(ip) !== undefined) ipam.release(ip);
      throw error;
    }
  }

  /** Addresses and routes inside, once its policy is in place. */
  async #configure(ipv4: string | undefined, ipv6: string | undefined): Promise<void> {
    const { ipam } = this.#deps;
    const dev = `dev ${INNER_INTERFACE}`;
    const lines = [
      'link set lo up',
      ...(ipv4 === undefined ? [] : [`address add ${ipv4}/32 ${dev}`]),
      ...(ipv6 === undefined ? [] : [`address add ${ipv6}/128 ${dev} nodad`]),
      `link set ${INNER_INTERFACE} up`,
    ];
    await this.#ip([], lines);
    for (const [ip, family] of [[ipv4, 4] as const, [ipv6, 6] as const]) {
      const gateway = ipam.routerIp(family);
      if (ip === undefined || gateway === undefined) continue;
      const routes = [`route add ${gateway} ${dev} scope link`, `route add default via ${gateway} ${dev}`];
      await this.#ip([`-${family}`], routes);
    }
  }

  async #ip(flags: readonly string[], lines: readonly string[]): Promise<void> {
    await runChecked(['ip', '-n', this.#netns, ...flags, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  async #removeLink(): Promise<void> {
    await run(['ip', 'link', 'delete', 'dev', HEALTH_INTERFACE]);
    if (existsSync(this.netnsPath)) await runChecked(['ip', 'netns', 'delete', this.#netns]);
  }
}

async function readLink(name: string, where: readonly string[]): Promise<{ index: number; mac: string }> {
  const links: unknown = JSON.parse(await runChecked(['ip', ...where, '-json', 'link', 'show', 'dev', name]));
  const [link]: unknown[] = Array.isArray(links) ? links : [];
  const { ifindex, address } = (link ?? {}) as { ifindex?: unknown; address?: unknown };
  if (typeof ifindex === 'number' && typeof address === 'string') return { index: ifindex, mac: address };
  throw new SystemError(`ip shows no ${name}`, { code: 'LINK_MISSING' });
}
