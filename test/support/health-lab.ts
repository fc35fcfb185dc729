import { closeSync, openSync } from 'node:fs';
import { createProbeEngine } from '../../probes/engine/index.ts';
import { createHttpProbe, HEALTH_PORT } from '../../probes/http/index.ts';
import { createResponder, type Responder } from '../../probes/responder/index.ts';
import type { NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import { runChecked } from '../../src/base/run.ts';
import { dialFrom, loadSockets } from '../../src/base/sockets/index.ts';
import {
  createHealth,
  createHttpTransport,
  EngineProber,
  type Health,
  RequestProber,
  rowRoutes,
  systemClock,
} from '../../src/health/index.ts';
import { element, FakeNodes } from '../health/fakes.ts';
import { NetnsLab } from './netns.ts';

const PREFIX = 30;
const BATCH_LIMIT_MS = 60_000;

/** One node of the lab: a network namespace, and the health agent of it as objects of this process. */
export interface LabNode {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
  readonly health: Health;
}

interface Running extends LabNode {
  readonly responder: Responder;
  readonly netnsFd: number;
}

/** Addresses of node i and of the router at its link: 10.64.(4 i).. a /30 each. */
function linkOf(i: number): { readonly node: string; readonly router: string } {
  const base = 4 * i;
  const address = (host: number): string => `10.64.${(base + host) >> 8}.${(base + host) & 255}`;
  return { node: address(2), router: address(1) };
}

/**
 * Many nodes on one machine: each in a namespace of its own, all linked to one router, their health agents as objects in
 * this process with real sockets inside the namespaces. Links, pairs and agents break and heal by methods.
 */
export class HealthLab {
  readonly #net = new NetnsLab('h');
  readonly #count: number;
  readonly #running: Running[] = [];
  readonly #sockets = loadSockets();
  #router = '';

  constructor(count: number) {
    this.#count = count;
  }

  get nodes(): readonly LabNode[] {
    return this.#running;
  }

  async start(): Promise<void> {
    this.#router = await this.#net.namespace('r');
    const namespaces: string[] = [];
    for (let i = 0; i < this.#count; i++) namespaces.push(await this.#net.namespace(`n${i}`));
    await this.#batch(
      this.#router,
      namespaces.flatMap((namespace, i) => [
        `link add l${i} type veth peer name eth0 netns ${namespace}`,
        `address add ${linkOf(i).router}/${PREFIX} dev l${i}`,
        `link set l${i} up`,
      ]),
    );
    await this.#net.sysctl(this.#router, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0');
    for (const [i, namespace] of namespaces.entries()) {
      const { node, router } = linkOf(i);
      const lines = [
        `address add ${node}/${PREFIX} dev eth0`,
        'link set eth0 up',
        `route add default via ${router}`,
      ];
      await this.#batch(namespace, lines);
    }
    const elements: NodeElement[] = namespaces.map((_, i) => element(`n${i}`, linkOf(i).node));
    for (const [i, namespace] of namespaces.entries()) await this.#startNode(i, namespace, elements);
  }

  async #batch(namespace: string, lines: readonly string[]): Promise<void> {
    const input = `${lines.join('\n')}\n`;
    await runChecked(['ip', '-n', namespace, '-batch', '-'], { input, timeoutMs: BATCH_LIMIT_MS });
  }

  async #startNode(i: number, namespace: string, elements: readonly NodeElement[]): Promise<void> {
    const netns = this.#net.path(namespace);
    const address = linkOf(i).node;
    const netnsFd = openSync(netns, 'r');
    const engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 1024 });
    const requests = new RequestProber({
      responder: 'http',
      probes: { host: createHttpProbe({ netns, timeoutMs: 5000 }) },
      clock: systemClock,
      random: Math.random,
    });
    const health = createHealth(
      { interval: { kind: 'fixed', ms: 1000 }, plan: { httpPerSecond: 0.5 } },
      {
        nodes: new FakeNodes(`n${i}`, elements),
        probers: [new EngineProber(engine, { host: 0 }), requests],
        clock: systemClock,
        log: silentLog,
        rows: createHttpTransport({
          port: HEALTH_PORT,
          connect: (to, port) =>
            dialFrom(this.#sockets, { from: undefined, to: { address: to, port }, mark: 0, netns }),
        }),
      },
    );
    const responder = this.#responder(netns, address, health);
    await responder.start();
    await health.start();
    this.#running.push({ name: `n${i}`, address, namespace, health, responder, netnsFd });
  }

  #responder(netns: string, address: string, health: Health): Responder {
    const fd = this.#sockets.openSocket({
      family: 4,
      type: 'stream',
      netns,
      bind: { address, port: HEALTH_PORT },
      listen: 128,
    });
    return createResponder({ listen: [{ kind: 'fd', fd }], routes: rowRoutes(health.rows) });
  }

  /** Takes a node off its link, or puts it back. */
  async setLink(i: number, up: boolean): Promise<void> {
    await this.#net.ip('-n', this.#router, 'link', 'set', `l${i}`, up ? 'up' : 'down');
  }

  /** Lets packets between two nodes vanish in the router, or pass again. */
  async setPair(a: number, b: number, passes: boolean): Promise<void> {
    const verb = passes ? 'del' : 'add';
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const rule = ['from', linkOf(from).node, 'to', linkOf(to).node, 'prio', '100', 'blackhole'];
      await this.#net.ip('-n', this.#router, 'rule', verb, ...rule);
    }
  }

  /** Lets a node answer echoes or not, while its agent does. */
  async setEcho(i: number, answers: boolean): Promise<void> {
    const namespace = this.#running[i]?.namespace ?? '';
    await this.#net.sysctl(namespace, `net.ipv4.icmp_echo_ignore_all=${answers ? 0 : 1}`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map(({ health }) => health.stop()));
    await Promise.all(this.#running.map(({ responder }) => responder.stop()));
    for (const { netnsFd } of this.#running.splice(0)) closeSync(netnsFd);
    await this.#net.cleanUp();
  }
}
