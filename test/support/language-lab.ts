import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { formatCidr, parseCidr } from '../../src/base/ip.ts';
import { type Identity, ReservedIdentity } from '../../src/model/identity.ts';
import { labelSet, parseLabel } from '../../src/model/labels.ts';
import { type Direction, EMPTY_MAP_STATE, mapStateKeyText } from '../../src/model/map-state.ts';
import { PolicyResolver, parsePolicy, Repository } from '../../src/policy/index.ts';
import { DatapathLab, NODE4, NODE6, type Pod, REMOTE4, REMOTE6 } from './datapath-lab.ts';
import { NetSockets } from './net-sockets.ts';
import { eventually } from './process.ts';

/** Where servers listen; of both protocols. */
export const SERVED = [7999, 8000, 8001, 8003, 8004, 8080] as const;
/** A flow that may pass is given this long on a busy machine, one that may not this long to pass all the same. */
const OPEN_MS = 5000;
const SHUT_MS = 600;

/** Addresses outside of the cluster that the machine beside the node has, two in each range that rules name. */
export const WORLD = {
  near4: '198.51.100.7',
  far4: '198.51.100.200',
  near6: '2001:db8::7',
  far6: '2001:db8:1::7',
} as const;

const PLACES = ['host', 'remote-node', 'health', 'pod', 'world'] as const;
/** Who talks to the subject, in one family. */
export type Place = `${(typeof PLACES)[number]}${4 | 6}` | 'far4' | 'far6';
export const EVERYBODY: readonly Place[] = PLACES.flatMap((place) => [`${place}4`, `${place}6`] as const);

const identity = (id: number, ...labels: readonly string[]): Identity => ({
  id,
  labels: labelSet(labels.map((label) => parseLabel(label, 'k8s'))),
});
const NAMESPACE = 'io.kubernetes.pod.namespace=default';
const SUBJECT = identity(1000, 'app=a', NAMESPACE);
const POD = identity(2000, 'app=b', NAMESPACE);

/** Perl, as Debian always has it: Node has no raw sockets. Sends one message of ICMP: family, address, type. */
const SEND_ICMP = `use Socket qw(:all);
my ($family, $address, $type) = @ARGV;
my $v6 = $family == 6;
socket(my $s, $v6 ? AF_INET6 : AF_INET, SOCK_RAW, $v6 ? 58 : 1) or die "socket: $!";
my $message = pack('CCnnnNNN', $type, 0, 0, 77, 1, 0, 0, 0);
my $sum = unpack('%32n*', $message);
$sum = ($sum & 0xffff) + ($sum >> 16);
substr($message, 2, 2) = pack('n', ~$sum & 0xffff) unless $v6;
my $ip = inet_pton($v6 ? AF_INET6 : AF_INET, $address);
send($s, $message, 0, $v6 ? pack_sockaddr_in6(0, $ip) : pack_sockaddr_in(0, $ip)) or die "send: $!";`;

/** A subject, a pod, a health endpoint, the node, another node and the world, under policies written as a user does. */
export class LanguageLab {
  readonly lab = new DatapathLab('w');
  readonly #sockets = new NetSockets();
  #pods!: Readonly<Record<'subject' | 'pod' | 'health', Pod>>;
  #prefixes = new Set<string>();

  async start(): Promise<void> {
    const { lab } = this;
    await lab.start();
    for (const address of Object.values(WORLD)) {
      const host = address.includes(':') ? `${address}/128` : `${address}/32`;
      await lab.net.ip('-n', lab.remote, 'address', 'add', host, 'dev', 'lo');
    }
    await lab.net.ip('-n', lab.node, 'route', 'add', '198.51.100.0/24', 'via', REMOTE4);
    await lab.net.ip('-n', lab.node, 'route', 'add', '2001:db8::/32', 'via', REMOTE6);
    this.#pods = {
      subject: await lab.pod(10, SUBJECT.id),
      pod: await lab.pod(11, POD.id),
      health: await lab.pod(12, ReservedIdentity.health),
    };
    for (const pod of Object.values(this.#pods)) await lab.datapath.attachEndpoint(pod.endpoint);
    for (const { endpoint } of [this.#pods.pod, this.#pods.health])
      await lab.datapath.applyPolicy(endpoint.id, EMPTY_MAP_STATE, { ingress: false, egress: false });
    for (const family of [4, 6] as const) await this.#serve(family);
  }

  async #serve(family: 4 | 6): Promise<void> {
    const any = family === 4 ? '0.0.0.0' : '::';
    const { lab } = this;
    const namespaces = [lab.node, lab.remote, ...Object.values(this.#pods).map(({ namespace }) => namespace)];
    for (const namespace of namespaces) {
      const netns = lab.net.path(namespace);
      for (const port of SERVED) {
        await this.#sockets.listen(netns, any, port, (socket) => socket.pipe(socket));
        const udp = await this.#sockets.udp(netns, any, port);
        udp.on('message', (bytes, from) => udp.send(bytes, from.port, from.address));
      }
    }
  }

  /** Puts the rules of a text in force at the subject. */
  async policy(text: string): Promise<void> {
    const { rules, errors, inventory } = parsePolicy(text, { file: 'live.yaml' });
    assert.deepEqual(errors, []);
    const repository = Repository.empty();
    repository.add(rules.map(({ rule }) => rule));
    const options = { mode: 'default', allowLocalhost: 'policy', clusterName: 'default' } as const;
    const resolver = new PolicyResolver(options);
    resolver.updateIdentities({ upserts: [SUBJECT, POD] });
    resolver.setInventory(inventory);
    resolver.setRules(repository.snapshot());
    const { mapState, enforcement } = resolver.resolve(SUBJECT);
    const { datapath } = this.lab;
    await datapath.applyPolicy(10, mapState, enforcement);
    const prefixes = resolver.prefixes();
    const texts = new Set(prefixes.map(({ prefix }) => formatCidr(prefix)));
    const gone = [...this.#prefixes].filter((prefix) => !texts.has(prefix));
    await datapath.deleteIpcache(gone.map(parseCidr));
    await datapath.upsertIpcache(
      prefixes.map(({ prefix, identity: { id } }) => ({ prefix, identity: id, tunnelEndpoint: undefined })),
    );
    this.#prefixes = texts;
    assert.deepEqual(
      [...(await datapath.readPolicy(10)).keys()].sort(),
      [...mapState.values()].map(({ key }) => mapStateKeyText(key)).sort(),
    );
  }

  #end(place: Place): { readonly netns: string; readonly address: string } {
    const { lab } = this;
    const v6 = place.endsWith('6');
    const { pod, health } = this.#pods;
    const ends: Readonly<Record<string, readonly [namespace: string, ipv4: string, ipv6: string]>> = {
      host: [lab.node, NODE4, NODE6],
      'remote-node': [lab.remote, REMOTE4, REMOTE6],
      pod: [pod.namespace, pod.ipv4, pod.ipv6],
      health: [health.namespace, health.ipv4, health.ipv6],
      world: [lab.remote, WORLD.near4, WORLD.near6],
      far: [lab.remote, WORLD.far4, WORLD.far6],
    };
    const [namespace, ipv4, ipv6] = ends[place.slice(0, -1)] ?? assert.fail(place);
    return { netns: lab.net.path(namespace), address: v6 ? ipv6 : ipv4 };
  }

  /** Both ends of a flow of the subject with a place. */
  #ends(direction: Direction, place: Place) {
    const { subject } = this.#pods;
    const own = {
      netns: this.lab.net.path(subject.namespace),
      address: place.endsWith('6') ? subject.ipv6 : subject.ipv4,
    };
    const other = this.#end(place);
    return direction === 'ingress' ? { from: other, to: own } : { from: own, to: other };
  }

  /** Whether a connection gets through. @param expected how long to wait for it, not what comes out */
  async tcp(direction: Direction, place: Place, port: number, expected: boolean): Promise<boolean> {
    const { from, to } = this.#ends(direction, place);
    const source = { address: from.address, port: 0 };
    const socket = await this.#sockets.connect(from.netns, to.address, port, source, waitFor(expected));
    socket?.destroy();
    return socket !== undefined;
  }

  /** Whether a datagram is answered. */
  async udp(direction: Direction, place: Place, port: number, expected: boolean): Promise<boolean> {
    const { from, to } = this.#ends(direction, place);
    const socket = await this.#sockets.udp(from.netns, from.address);
    const answer = once(socket, 'message').then(() => true);
    socket.send('x', port, to.address);
    return Promise.race([answer, delay(waitFor(expected), false, { ref: false })]);
  }

  /** Those of `places` that connections of the subject get through with; `wanted` says for whom to wait longer. */
  async who(
    direction: Direction,
    wanted: readonly Place[],
    places: readonly Place[] = EVERYBODY,
  ): Promise<readonly Place[]> {
    const passed = await Promise.all(
      places.map((place) => this.tcp(direction, place, 8080, wanted.includes(place))),
    );
    return places.filter((_, i) => passed[i]);
  }

  /** Whether a message of ICMP that the pod and the subject exchange comes in, by what the receiver's kernel counts. */
  async icmp(direction: Direction, family: 4 | 6, type: number): Promise<boolean> {
    const { from, to } = this.#ends(direction, `pod${family}`);
    const [before, dropped] = [await this.#received(to.netns, family, type), await this.#dropped(direction)];
    const sent = await this.lab.net.exec(from.netns.replace('/run/netns/', ''), [
      ...['perl', '-e', SEND_ICMP, String(family), to.address, String(type)],
    ]);
    assert.equal(sent.exitCode, 0, sent.stderr);
    return eventually('received or dropped', async () => {
      if ((await this.#received(to.netns, family, type)) > before) return { passed: true };
      return (await this.#dropped(direction)) > dropped ? { passed: false } : undefined;
    }).then(({ passed }) => passed);
  }

  async #received(netns: string, family: 4 | 6, type: number): Promise<number> {
    const namespace = netns.replace('/run/netns/', '');
    const file = family === 4 ? '/proc/net/snmp' : '/proc/net/snmp6';
    const { stdout } = await this.lab.net.exec(namespace, ['cat', file]);
    if (family === 6) return Number(new RegExp(`^Icmp6InType${type}\\s+(\\d+)`, 'm').exec(stdout)?.[1] ?? 0);
    const [names = '', values = ''] = stdout.split('\n').filter((line) => line.startsWith('IcmpMsg:'));
    return Number(values.split(' ')[names.split(' ').indexOf(`InType${type}`)] ?? 0);
  }

  /** Packets that policy dropped so far, with either reason. */
  async #dropped(direction: Direction): Promise<number> {
    const counters = await this.lab.datapath.readCounters();
    return counters
      .filter((counter) => counter.direction === direction && [133, 181].includes(counter.reason))
      .reduce((sum, { packets }) => sum + Number(packets), 0);
  }

  /** Closes clients' and servers' sockets and takes the lab down. */
  async cleanUp(): Promise<void> {
    this.#sockets.close();
    await this.lab.cleanUp();
  }
}

function waitFor(expected: boolean): number {
  return expected ? OPEN_MS : SHUT_MS;
}
