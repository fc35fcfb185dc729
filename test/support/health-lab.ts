import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBpf } from '../../bpf/addon/index.ts';
import type { NodeElement } from '../../src/api/schema.ts';
import type { Health } from '../../src/health/index.ts';
import { element } from '../health/fakes.ts';
import { classify, droppingLonger, droppingShare } from './classifier.ts';
import { type LabAgent, type LabAgentOptions, startHungAgent, startLabAgent } from './health-lab-agent.ts';
import { LabDatapath } from './health-lab-datapath.ts';
import { NetnsLab } from './netns.ts';

const PREFIX = 30;
const ETHERNET_BYTES = 14;

export interface HealthLabOptions {
  readonly nodes: number;
  /** The first so many nodes have a datapath, and an endpoint that it enforces policy on. */
  readonly datapaths: number;
}

/** One node of the lab: a network namespace, and the health agent of it as objects of this process. */
export interface LabNode {
  readonly name: string;
  readonly address: string;
  /** Of the agent that runs there now, or ran last. */
  readonly health: Health;
}

interface Running {
  readonly namespace: string;
  readonly options: LabAgentOptions;
  agent: LabAgent;
  /** What stops whatever stands in the agent's place now. */
  stop: () => Promise<void>;
}

/** Addresses of node i and of the router at its link: 10.64.(4 i).. a /30 each. */
function linkOf(i: number): { readonly node: string; readonly router: string; readonly network: string } {
  const base = 4 * i;
  const address = (host: number): string => `10.64.${(base + host) >> 8}.${(base + host) & 255}`;
  return { node: address(2), router: address(1), network: `${address(0)}/${PREFIX}` };
}

/**
 * Many nodes on one machine: each in a namespace of its own, all linked to one router, their health agents and datapaths as
 * objects in this process with real sockets and programs inside the namespaces. Links, pairs, sizes of packets, policies
 * and agents break and heal by methods.
 */
export class HealthLab {
  readonly #net = new NetnsLab('h');
  readonly #options: HealthLabOptions;
  readonly #running: Running[] = [];
  readonly #datapaths: LabDatapath[] = [];
  #router = '';
  #mount = '';

  constructor(options: HealthLabOptions) {
    this.#options = options;
  }

  get nodes(): readonly LabNode[] {
    return this.#running.map(({ options, agent }, i) => {
      return { name: options.name, address: linkOf(i).node, health: agent.health };
    });
  }

  async start(): Promise<void> {
    this.#mount = mkdtempSync(join(tmpdir(), 'ciliate-hl-'));
    loadBpf().mountBpffs(this.#mount);
    const namespaces = await this.#connectNodes();
    const datapaths = this.#datapaths;
    for (const [i, namespace] of namespaces.slice(0, this.#options.datapaths).entries())
      datapaths.push(await this.#startDatapath(i, namespace));
    const nodes = namespaces.map(
      (_, i): NodeElement => element(`n${i}`, linkOf(i).node, datapaths[i]?.endpointAddress),
    );
    for (const [i, namespace] of namespaces.entries()) {
      const options = this.#agentOptions(i, { namespace, nodes, datapath: datapaths[i] });
      const agent = await startLabAgent(options);
      this.#running.push({ namespace, options, agent, stop: () => agent.stop() });
    }
  }

  /** @returns the nodes' namespaces */
  async #connectNodes(): Promise<readonly string[]> {
    this.#router = await this.#net.namespace('r');
    const namespaces: string[] = [];
    for (let i = 0; i < this.#options.nodes; i++) namespaces.push(await this.#net.namespace(`n${i}`));
    await this.#net.ipBatch(
      this.#router,
      namespaces.flatMap((namespace, i) => [
        `link add l${i} type veth peer name eth0 netns ${namespace}`,
        `address add ${linkOf(i).router}/${PREFIX} dev l${i}`,
        `link set l${i} up`,
        `route add ${rangeOf(i)}0/24 via ${linkOf(i).node}`,
      ]),
    );
    await this.#net.sysctl(this.#router, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0');
    for (const [i, namespace] of namespaces.entries()) {
      const { node, router } = linkOf(i);
      await this.#net.ipBatch(namespace, [
        `address add ${node}/${PREFIX} dev eth0`,
        'link set eth0 up',
        `route add default via ${router}`,
      ]);
    }
    return namespaces;
  }

  #startDatapath(i: number, namespace: string): Promise<LabDatapath> {
    return LabDatapath.start({
      net: this.#net,
      namespace,
      address: linkOf(i).node,
      bpfDir: this.#bpfDir(i),
      range: rangeOf(i),
    });
  }

  #bpfDir(i: number): string {
    return join(this.#mount, `n${i}`);
  }

  #agentOptions(
    i: number,
    node: {
      readonly namespace: string;
      readonly nodes: readonly NodeElement[];
      readonly datapath: LabDatapath | undefined;
    },
  ): LabAgentOptions {
    const { namespace, nodes, datapath } = node;
    const netns = this.#net.path(namespace);
    const endpoint = datapath && {
      netns: this.#net.path(datapath.endpointNetns),
      address: datapath.endpointAddress,
    };
    return { name: `n${i}`, nodes, netns, address: linkOf(i).node, bpfDir: this.#bpfDir(i), endpoint };
  }

  #at(i: number): Running {
    const running = this.#running[i];
    if (running === undefined) throw new RangeError(`the lab has no node ${i}`);
    return running;
  }

  /** Takes a node off its link, or puts it back. */
  async setLink(i: number, up: boolean): Promise<void> {
    await this.#net.ip('-n', this.#router, 'link', 'set', `l${i}`, up ? 'up' : 'down');
    if (up)
      await this.#net.ip('-n', this.#router, 'route', 'replace', `${rangeOf(i)}0/24`, 'via', linkOf(i).node);
  }

  /** Lets packets between two nodes vanish in the router, or pass again. */
  async setPair(a: number, b: number, passes: boolean): Promise<void> {
    await this.setWay(a, b, passes);
    await this.setWay(b, a, passes);
  }

  /** Lets packets from one node to another vanish in the router, or pass again; those of the other direction pass. */
  async setWay(from: number, to: number, passes: boolean): Promise<void> {
    const rule = ['from', linkOf(from).node, 'to', linkOf(to).node, 'prio', '100', 'blackhole'];
    await this.#net.ip('-n', this.#router, 'rule', passes ? 'del' : 'add', ...rule);
  }

  /** Lets a node answer echoes or not, while its agent does. */
  async setEcho(i: number, answers: boolean): Promise<void> {
    await this.#net.sysctl(this.#at(i).namespace, `net.ipv4.icmp_echo_ignore_all=${answers ? 0 : 1}`);
  }

  /** Lets a node's health agent hang, or ends it, or starts another one in its place. */
  async setAgent(i: number, becomes: 'running' | 'hung' | 'gone'): Promise<void> {
    const running = this.#at(i);
    await running.stop();
    if (becomes === 'running') running.agent = await startLabAgent(running.options);
    const nobody = { stop: () => Promise.resolve() };
    const inPlace = {
      running: () => running.agent,
      hung: () => startHungAgent(running.options),
      gone: () => nobody,
    };
    const { stop } = inPlace[becomes]();
    running.stop = stop;
  }

  /** Lets everything of a node's kernel hang that stands above the programs of its device: nothing comes in by it. */
  async setStack(i: number, hangs: boolean): Promise<void> {
    const rule = (...words: readonly string[]): Promise<string> =>
      this.#net.ip('-n', this.#at(i).namespace, 'rule', ...words);
    const local = ['lookup', 'local', 'prio', '10'];
    const hole = ['iif', 'eth0', 'prio', '5', 'blackhole'];
    // The kernel's own rule for what is for the node itself stands before all others: one behind the hole takes its place.
    if (hangs) {
      await rule('add', ...hole);
      await rule('add', ...local);
      await rule('del', 'prio', '0');
      return;
    }
    await rule('add', 'lookup', 'local', 'prio', '0');
    await rule('del', ...local);
    await rule('del', ...hole);
  }

  /** Lets this part of the packets to a node vanish in the router. @param share 0..1 */
  async setLoss(i: number, share: number): Promise<void> {
    await this.#classify(i, share === 0 ? undefined : droppingShare(share));
  }

  /** Lets packets to a node that are longer than this vanish in the router. @param bytes of IP; undefined: all pass */
  async setHole(i: number, bytes: number | undefined): Promise<void> {
    await this.#classify(i, bytes === undefined ? undefined : droppingLonger(bytes + ETHERNET_BYTES));
  }

  /** What the router does with what it sends to a node. */
  #classify(i: number, code: readonly string[] | undefined): Promise<void> {
    return classify(this.#net, { netns: this.#router, device: `l${i}` }, code);
  }

  /** The router says of longer packets to a node that they are too big, as it should. @param bytes of IP */
  async setMtu(i: number, bytes: number | undefined): Promise<void> {
    const { network, router } = linkOf(i);
    const route = [network, 'dev', `l${i}`, 'proto', 'kernel', 'scope', 'link', 'src', router];
    const mtu = bytes === undefined ? [] : ['mtu', `${bytes}`];
    await this.#net.ip('-n', this.#router, 'route', 'replace', ...route, ...mtu);
  }

  /** The policy of a node's endpoint: of a node with a datapath. */
  async setPolicy(i: number, policy: Parameters<LabDatapath['setPolicy']>[0]): Promise<void> {
    const datapath = this.#datapaths[i];
    if (datapath === undefined) throw new RangeError(`node ${i} has no datapath`);
    await datapath.setPolicy(policy);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map(({ stop }) => stop()));
    for (const datapath of this.#datapaths.splice(0)) await datapath.stop();
    await this.#net.cleanUp();
    if (this.#mount === '') return;
    loadBpf().unmountBpffs(this.#mount);
    rmSync(this.#mount, { recursive: true });
  }
}

/** Addresses of a node's endpoints, without their last byte. */
function rangeOf(i: number): string {
  return `10.65.${i}.`;
}
