import type { ProbeResult } from '../../probes/types.ts';
import { silentLog } from '../../src/base/log.ts';
import {
  createHealth,
  type Health,
  type HealthOptions,
  type NodeProvider,
  RequestProber,
} from '../../src/health/index.ts';
import type { RowTransport } from '../../src/health/mesh/index.ts';
import type { LossQuestion } from '../../src/health/prober.ts';
import { type HealthNode, healthNode } from '../../src/health/targets.ts';
import { type LossPoint, PROBE_KINDS, type ProbePath } from '../../src/model/health.ts';
import { type Fate, VirtualProber } from '../support/virtual-network.ts';
import { element, FakeProbe, lost, reply } from './fakes.ts';
import { HeapClock } from './mesh/heap-clock.ts';

const RTT_MS = 0.2;
const HTTP_NS = 300_000;
const HTTP_TIMEOUT_MS = 1000;
const MESSAGE_TIMEOUT_MS = 2000;
const STEP_MS = 10;
const LOOK_MS = 500;

export interface DeathClusterOptions {
  readonly nodes: number;
  /** 0 to below 1. */
  readonly random: () => number;
  readonly plan?: HealthOptions['plan'];
  /** Whether a node has room for its paths to a peer; undefined: for all. */
  readonly opens?: ((self: string, peer: string) => boolean) | undefined;
  /** What is found of the probes of a path that has no answer, `LOOK_MS` after it was asked for; undefined: nothing ever. */
  readonly findLoss?: ((self: string, peer: string) => LossPoint | undefined) | undefined;
}

/** What was told of a death, ms after it. */
export interface DeathTold {
  /** The first path of a living node that is unreachable. */
  readonly pathMs: number;
  /** The first and the last living node, of those that were looked at, that said that the node is down. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Whatever else was said meanwhile. */
  readonly besides: readonly string[];
}

/**
 * Health agents of a whole cluster that exchange their rows (1 to 5 ms a message), with the rules of the probe engine over
 * a made-up network, on one virtual clock; to see how soon they say that one of them has gone off the network.
 */
export class DeathCluster {
  readonly clock = new HeapClock();
  readonly names: readonly string[];
  readonly #options: DeathClusterOptions;
  readonly #nodes: readonly HealthNode[];
  readonly #byAddress: ReadonlyMap<string, string>;
  readonly #healths = new Map<string, Health>();
  readonly #dead = new Set<string>();
  /** How much later than usual the echo of a node's kernel comes that is asked for now. */
  lateMs: (to: string) => number = () => 0;
  /** The one that died last, and when. */
  #victim: string | undefined;
  #deadMs = 0;
  #pathMs = Number.POSITIVE_INFINITY;

  constructor(options: DeathClusterOptions) {
    this.#options = options;
    this.names = Array.from({ length: options.nodes }, (_, i) => `n${i}`);
    const addressOf = (i: number): string => `10.0.${i >> 8}.${i & 255}`;
    this.#nodes = this.names.map((name, i) => healthNode(element(name, addressOf(i))));
    this.#byAddress = new Map(this.names.map((name, i) => [addressOf(i), name]));
    this.names.forEach((name, i) => void this.#healths.set(name, this.#make(name, addressOf(i))));
  }

  #make(name: string, address: string): Health {
    const { clock } = this;
    const { random, plan } = this.#options;
    const provider: NodeProvider = {
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      view: () => ({ self: name, nodes: this.#nodes, stale: undefined }),
      onChange: () => undefined,
    };
    const http = new FakeProbe('http', (to) => this.#request(name, to));
    const health = createHealth(
      { interval: { kind: 'fixed', ms: 1000 }, plan },
      {
        nodes: provider,
        probers: [
          this.#withRoom(name, this.#withFinder(name, this.#echoes(name))),
          this.#withRoom(
            name,
            new RequestProber({ responder: 'http', probes: { host: http }, clock, random }),
          ),
        ],
        clock,
        log: silentLog,
        random,
        rows: this.#transport(name, address),
      },
    );
    health.onChange(({ path, to }) => {
      if (path.peer === this.#victim && !this.#dead.has(name) && to === 'unreachable')
        this.#pathMs = Math.min(this.#pathMs, clock.nowMs() - this.#deadMs);
    });
    return health;
  }

  #echoes(name: string): VirtualProber {
    const { clock } = this;
    const fate: Fate = ({ peer, kind }) => {
      if (!this.passes(name, peer)) return undefined;
      return RTT_MS + (PROBE_KINDS[kind]?.responder === 'icmp' ? this.lateMs(peer) : 0);
    };
    return new VirtualProber({ clock, random: this.#options.random, fate });
  }

  /** The same prober, which finds out where probes are lost. */
  #withFinder(self: string, prober: VirtualProber): VirtualProber {
    const { findLoss } = this.#options;
    if (findLoss === undefined) return prober;
    const find = async (_: number, { path }: LossQuestion): Promise<LossPoint | undefined> => {
      await this.#wait(LOOK_MS);
      return findLoss(self, path.peer);
    };
    return Object.assign(prober, { findLoss: find });
  }

  /** The same prober, which opens only what there is room for. */
  #withRoom<T extends { open(path: ProbePath, periodMs: number): number }>(self: string, prober: T): T {
    const { opens } = this.#options;
    if (opens === undefined) return prober;
    const open = prober.open.bind(prober);
    const refuses = (path: ProbePath, periodMs: number): number | undefined =>
      opens(self, path.peer) ? open(path, periodMs) : undefined;
    return Object.assign(prober, { open: refuses });
  }

  /** Whether packets pass from one node to another, and back. */
  passes(from: string, to: string): boolean {
    return from === to || !(this.#dead.has(from) || this.#dead.has(to));
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve));
  }

  #request(from: string, address: string): ProbeResult | Promise<ProbeResult> {
    if (this.passes(from, this.#byAddress.get(address) ?? '')) return reply(HTTP_NS);
    return this.#wait(HTTP_TIMEOUT_MS).then(() => lost);
  }

  #transport(from: string, source: string): RowTransport {
    const way = (): Promise<void> => this.#wait(1 + 4 * this.#options.random());
    return {
      send: async (address, request, body) => {
        const to = this.#byAddress.get(address) ?? '';
        await way();
        if (!this.passes(from, to)) {
          await this.#wait(MESSAGE_TIMEOUT_MS);
          throw new Error('no answer');
        }
        const answer = this.health(to).rows.answer(request, source, body);
        if (answer.kind === 'malformed') throw new Error(answer.reason);
        await way();
        return answer.body;
      },
      stop: () => Promise.resolve(),
    };
  }

  health(name: string): Health {
    const found = this.#healths.get(name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  async start(): Promise<void> {
    for (const health of this.#healths.values()) await health.start();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#healths.values()].map((health) => health.stop()));
  }

  /**
   * Takes a node off the network, and waits until all of `lookers` that live say that it is down.
   * @throws Error after `limitMs`
   */
  async kill(victim: string, lookers = this.names, limitMs = 10_000): Promise<DeathTold> {
    this.#dead.add(victim);
    [this.#victim, this.#deadMs, this.#pathMs] = [victim, this.clock.nowMs(), Number.POSITIVE_INFINITY];
    const living = lookers.filter((name) => !this.#dead.has(name));
    const said = new Map<string, number>();
    const besides = new Set<string>();
    while (said.size < living.length) {
      const passedMs = this.clock.nowMs() - this.#deadMs;
      if (passedMs > limitMs) throw new Error(`${said.size} of ${living.length} say that ${victim} is down`);
      await this.clock.pass(STEP_MS);
      for (const name of living)
        if (this.#look(name, besides) && !said.has(name)) said.set(name, passedMs + STEP_MS);
    }
    const times = [...said.values()];
    return {
      pathMs: this.#pathMs,
      firstMs: Math.min(...times),
      lastMs: Math.max(...times),
      besides: [...besides],
    };
  }

  /** Brings a node back to the network. */
  revive(name: string): void {
    this.#dead.delete(name);
  }

  /** All that the living say within so long, each once. */
  async said(ms: number): Promise<string[]> {
    const texts = new Set<string>();
    for (let at = 0; at < ms; at += STEP_MS) {
      await this.clock.pass(STEP_MS);
      for (const name of this.names.filter((one) => !this.#dead.has(one)))
        for (const { fault, place } of this.health(name).diagnosis().verdicts)
          texts.add(`${fault} ${Object.values(place).join(' ')}`);
    }
    return [...texts];
  }

  /** @returns whether a node says that the one that died last is down */
  #look(name: string, besides: Set<string>): boolean {
    let isTold = false;
    for (const { fault, place } of this.health(name).diagnosis().verdicts) {
      const down = fault === 'node-down' && place.kind === 'node' ? place.node : undefined;
      if (down === undefined || !this.#dead.has(down)) {
        besides.add(`${fault} ${Object.values(place).join(' ')}`);
      }
      isTold ||= down === this.#victim;
    }
    return isTold;
  }
}
