import { NetnsLab } from '../../test/support/netns.ts';
import { DelayWire } from './delay-wire.ts';

/** Bytes of IP that all devices take but the narrow link. */
const WIDE = 9000;

/**
 * here - wire - router - far: packets take half of `rttMs` on the wire each way, in both directions; the far end answers
 * for all of 10.77/16. The link behind the router is as narrow as wanted, and the router says so or does not.
 */
export class MtuLab {
  readonly #net = new NetnsLab('u');
  readonly #wire = new DelayWire();
  readonly #rttMs: number;
  #names = { here: '', middle: '', router: '', far: '' };

  constructor(rttMs: number) {
    this.#rttMs = rttMs;
  }

  /** Path of the first namespace. */
  get here(): string {
    return this.#net.path(this.#names.here);
  }

  async setUp(): Promise<void> {
    const net = this.#net;
    const [here, middle] = [await net.namespace('a'), await net.namespace('m')];
    const [router, far] = [await net.namespace('r'), await net.namespace('f')];
    this.#names = { here, middle, router, far };
    await net.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24'] },
      { name: 'left', netns: middle },
    );
    await net.veth(
      { name: 'right', netns: middle },
      { name: 'eth0', netns: router, addresses: ['10.1.0.2/24'] },
    );
    await net.veth(
      { name: 'eth1', netns: router, addresses: ['10.2.0.1/24'] },
      { name: 'eth0', netns: far, addresses: ['10.2.0.2/24'] },
    );
    for (const [name, device] of [
      [here, 'eth0'],
      [middle, 'left'],
      [middle, 'right'],
      [router, 'eth0'],
      [router, 'eth1'],
      [far, 'eth0'],
    ] as const)
      await net.ip('-n', name, 'link', 'set', device, 'mtu', String(WIDE));
    await net.sysctl(router, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0');
    await net.sysctl(router, 'net.ipv4.icmp_msgs_per_sec=100000', 'net.ipv4.icmp_msgs_burst=10000');
    await net.sysctl(far, 'net.ipv4.icmp_ratelimit=0');
    await net.ip('-n', here, 'route', 'add', '10.77.0.0/16', 'via', '10.1.0.2');
    await net.ip('-n', router, 'route', 'add', '10.77.0.0/16', 'via', '10.2.0.2');
    await net.ip('-n', far, 'route', 'add', 'local', '10.77.0.0/16', 'dev', 'lo');
    await net.ip('-n', far, 'route', 'add', '10.1.0.0/24', 'via', '10.2.0.1');
    await net.ip('-n', router, 'route', 'add', 'blackhole', 'default', 'table', '99');
    await this.#wire.start(net.path(middle), (this.#rttMs * 1000) / 2);
    await this.run(['ping', '-c', '2', '-i', '0.2', '10.77.0.1']);
  }

  /** MTU of our own device. */
  async device(mtu: number): Promise<void> {
    await this.#net.ip('-n', this.#names.here, 'link', 'set', 'eth0', 'mtu', String(mtu));
  }

  /** MTU of the link behind the router; and whether the router says so. */
  async narrow(mtu: number, says: boolean): Promise<void> {
    const { router, far, here } = this.#names;
    await this.say(says);
    await this.#net.ip('-n', router, 'link', 'set', 'eth1', 'mtu', String(mtu));
    await this.#net.ip('-n', far, 'link', 'set', 'eth0', 'mtu', String(mtu));
    await this.#net.ip('-n', here, 'route', 'flush', 'cache');
  }

  /** Lets packets for one address that are larger vanish in the router; undefined: no more. */
  async hole(address: string, mtu: number | undefined): Promise<void> {
    const route = [`${address}/32`, 'via', '10.2.0.2'];
    const words = mtu === undefined ? ['del', ...route] : ['add', ...route, 'mtu', 'lock', String(mtu)];
    await this.#net.ip('-n', this.#names.router, 'route', ...words);
  }

  /** Whether what the router itself has to say reaches us. */
  async say(says: boolean): Promise<void> {
    const rule = ['iif', 'lo', 'to', '10.1.0.1', 'lookup', '99'];
    const rules = await this.#net.ip('-n', this.#names.router, 'rule');
    if (rules.includes('lookup 99') === !says) return;
    await this.#net.ip('-n', this.#names.router, 'rule', says ? 'del' : 'add', ...rule);
  }

  /** Forgets what the kernel has learnt of the path. */
  async forget(): Promise<void> {
    await this.#net.ip('-n', this.#names.here, 'route', 'flush', 'cache');
  }

  /** Runs a program in the first namespace; its output, whatever its exit code. */
  async run(argv: readonly string[], timeoutMs?: number): Promise<string> {
    return (await this.#net.exec(this.#names.here, argv, timeoutMs)).stdout;
  }

  /** Bytes that have left the first namespace, Ethernet's headers among them. */
  async sentBytes(): Promise<number> {
    const text = await this.#net.ip('-n', this.#names.here, '-s', '-json', 'link', 'show', 'dev', 'eth0');
    const [link] = JSON.parse(text) as { stats64: { tx: { bytes: number } } }[];
    return link?.stats64.tx.bytes ?? Number.NaN;
  }

  async cleanUp(): Promise<void> {
    await this.#wire.stop();
    await this.#net.cleanUp();
  }
}
