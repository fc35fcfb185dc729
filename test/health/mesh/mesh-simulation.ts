import { Mesh, NodeDirectory, type RowTransport } from '../../../src/health/mesh/index.ts';
import { observedPeers } from '../../../src/health/plan/observers.ts';
import { healthNode } from '../../../src/health/targets.ts';
import type { HealthCell, RowNote } from '../../../src/model/health.ts';
import type { Random } from '../../support/random.ts';
import { element } from '../fakes.ts';
import { HeapClock } from './heap-clock.ts';

const REACHABLE = 1 << 2;
const UNREACHABLE = 3 << 2;
/** Of HTTP, the request's and the answer's, and of TCP and IP around them. */
const HEADER_BYTES = 400;
const TIMEOUT_MS = 2000;

export interface SimulationOptions {
  readonly nodes: number;
  /** Peers that each node watches. */
  readonly watched: number;
  readonly random: Random;
  /** One message of so many gets lost; 0: none. */
  readonly lossOneIn?: number;
}

interface SimulatedNode {
  readonly name: string;
  readonly address: string;
  readonly watched: readonly string[];
  /** Watched nodes that it has seen to be gone. */
  readonly noticed: Set<string>;
  /** How much it lost to watched nodes. */
  readonly losses: Map<string, number>;
  /** What it found out besides. */
  readonly notes: RowNote[];
  mesh: Mesh;
  /** Both ways, headers included. */
  bytes: number;
  /** Nodes of different sides do not reach each other. */
  side: number;
  /** Nothing that others send comes to it; what it sends goes out. */
  deaf: boolean;
  alive: boolean;
}

/** Health agents that exchange rows over a simulated network: each message takes 1 to 5 ms to be received and dealt with. */
export class MeshSimulation {
  readonly clock = new HeapClock();
  readonly nodes: SimulatedNode[];
  readonly #options: SimulationOptions;
  readonly #directory = new NodeDirectory();
  readonly #byAddress: ReadonlyMap<string, SimulatedNode>;
  readonly #view: Parameters<Mesh['follow']>[0]['nodes'];

  constructor(options: SimulationOptions) {
    this.#options = options;
    const names = Array.from({ length: options.nodes }, (_, i) => `n${i}`);
    const addressOf = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    this.#view = names.map((name, i) => healthNode(element(name, addressOf(i))));
    this.nodes = names.map((name, i) => {
      const watched = [...observedPeers(name, names, options.watched)];
      const address = addressOf(i);
      const noticed = new Set<string>();
      const [losses, notes] = [new Map<string, number>(), [] as RowNote[]];
      const mesh = this.#makeMesh({ address, noticed, losses, notes });
      return {
        ...{ name, address, watched, noticed, losses, notes, mesh, bytes: 0 },
        ...{ side: 0, deaf: false, alive: true },
      };
    });
    this.#byAddress = new Map(this.nodes.map((node) => [node.address, node]));
    for (const node of this.nodes) this.#begin(node);
  }

  #chance(): number {
    return this.#options.random.below(1 << 30) / (1 << 30);
  }

  #makeMesh({
    address,
    noticed,
    losses,
    notes,
  }: Pick<SimulatedNode, 'address' | 'noticed' | 'losses' | 'notes'>): Mesh {
    const transport: RowTransport = {
      send: (to, request, body) => this.#send(address, to, request, body),
      stop: () => Promise.resolve(),
    };
    return new Mesh({
      clock: this.clock,
      cell: (peer) => cellOf(peer, noticed.has(peer), losses.get(peer) ?? 0),
      notes: () => notes,
      transport,
      directory: this.#directory,
      random: () => this.#chance(),
    });
  }

  #begin(node: SimulatedNode): void {
    node.mesh.follow({ self: node.name, nodes: this.#view, stale: undefined }, node.watched);
    node.mesh.start();
  }

  async #send(
    from: string,
    to: string,
    request: Parameters<RowTransport['send']>[1],
    body: Uint8Array,
  ): Promise<Uint8Array> {
    const [source, sink] = [this.#byAddress.get(from), this.#byAddress.get(to)];
    if (source === undefined || sink === undefined) throw new Error('no such node');
    source.bytes += body.length + HEADER_BYTES;
    await this.#wait(1 + 4 * this.#chance());
    if (!source.alive || !sink.alive || sink.deaf || source.side !== sink.side || this.#isLost()) {
      await this.#wait(TIMEOUT_MS);
      throw new Error('no answer');
    }
    const answer = sink.mesh.answer(request, from, body);
    if (answer.kind === 'malformed') throw new Error(answer.reason);
    sink.bytes += body.length + answer.body.length + HEADER_BYTES;
    await this.#wait(1 + 4 * this.#chance());
    source.bytes += answer.body.length;
    return answer.body;
  }

  #isLost(): boolean {
    const { lossOneIn = 0, random } = this.#options;
    return lossOneIn > 0 && random.oneIn(lossOneIn);
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve));
  }

  node(name: string): SimulatedNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** Nodes that watch a node. */
  watchersOf(name: string): SimulatedNode[] {
    return this.nodes.filter((node) => node.alive && node.watched.includes(name));
  }

  /** A node dies. Nobody notices it yet. */
  async kill(name: string): Promise<void> {
    const node = this.node(name);
    node.alive = false;
    await node.mesh.stop();
  }

  /** A node comes back with nothing but the node list. */
  revive(name: string): void {
    const node = this.node(name);
    node.alive = true;
    node.mesh = this.#makeMesh(node);
    this.#begin(node);
  }

  /** A watcher notices what became of a node. */
  notice(watcher: SimulatedNode, name: string): void {
    if (this.node(name).alive) watcher.noticed.delete(name);
    else watcher.noticed.add(name);
    watcher.mesh.pathChanged(name);
  }

  /** A watcher loses one more probe to a node. */
  lose(watcher: SimulatedNode, name: string): void {
    watcher.losses.set(name, (watcher.losses.get(name) ?? 0) + 1);
    watcher.mesh.tellLosses([name]);
  }

  /** A node finds out something, or that it is not so any more. */
  note(node: SimulatedNode, notes: readonly RowNote[]): void {
    node.notes.splice(0, node.notes.length, ...notes);
    node.mesh.notesChanged();
  }

  get living(): SimulatedNode[] {
    return this.nodes.filter(({ alive }) => alive);
  }

  /** Living nodes that hold all rows of the living at the version that these had `slackMs` ago or later. */
  informed(): number {
    const { living } = this;
    const whole = (node: SimulatedNode): boolean => {
      const matrix = node.mesh.matrix();
      return living.every(({ name, watched }) => matrix.row(name)?.cells.size === watched.length);
    };
    return living.filter(whole).length;
  }

  /** Time until a condition holds, ms; looked at every `stepMs`. @throws Error after `limitMs` */
  async until(what: string, holds: () => boolean, stepMs = 10, limitMs = 120_000): Promise<number> {
    const start = this.clock.nowMs();
    while (!holds()) {
      if (this.clock.nowMs() - start > limitMs) throw new Error(`${what}: not within ${limitMs} ms`);
      await this.clock.pass(stepMs);
    }
    return this.clock.nowMs() - start;
  }

  /** Whether a node holds the word of a watcher that another one is unreachable. */
  knows(node: SimulatedNode, watcher: string, gone: string): boolean {
    const cell = node.mesh.matrix().row(watcher)?.cells.get(gone);
    return cell?.states[4] === UNREACHABLE;
  }

  /** Whether a node holds the word of a watcher that it lost probes to another one. */
  knowsLoss(node: SimulatedNode, watcher: string, name: string): boolean {
    return (node.mesh.matrix().row(watcher)?.cells.get(name)?.lost ?? 0) > 0;
  }

  /** Bytes a second and node, sent and received, in a span of time. */
  async bytesASecond(spanMs: number): Promise<number> {
    for (const node of this.nodes) node.bytes = 0;
    await this.clock.pass(spanMs);
    const { living } = this;
    return living.reduce((sum, { bytes }) => sum + bytes, 0) / living.length / (spanMs / 1000);
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ mesh }) => mesh.stop()));
  }
}

function cellOf(peer: string, gone: boolean, losses: number): HealthCell {
  const states = { 4: gone ? UNREACHABLE : REACHABLE, 6: 0 };
  return { peer, states, rttNs: gone ? 0 : 100_000, sent: 60, lost: gone ? 5 : losses };
}
