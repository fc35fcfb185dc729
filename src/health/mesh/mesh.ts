import { atOnce, type Slices } from '../../base/slices.ts';
import type { HealthCell, RowNote } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import type { NodeView } from '../node-view.ts';
import { hostTargets } from '../targets.ts';
import { Exchange, type RowRequest, type RowTransport } from './exchange.ts';
import type { ExchangeCounters } from './exchange-counters.ts';
import { LossRoom } from './loss-room.ts';
import { matrixView, type PackedMatrix } from './matrix.ts';
import { NodeDirectory } from './node-directory.ts';
import { OwnRow } from './own-row.ts';
import { RowFormatError } from './row-bytes.ts';
import { RowStore } from './row-store.ts';

export interface MeshDeps {
  readonly clock: Clock;
  /** What this node knows of a peer. */
  readonly cell: (peer: string) => HealthCell | undefined;
  /** What else it found out, the gravest first. */
  readonly notes: () => readonly RowNote[];
  /** How other nodes are reached; undefined: our node keeps its row to itself. */
  readonly transport?: RowTransport | undefined;
  /** Another node told of faults that came or went: of these peers; of none: what they are. */
  readonly onFault?: ((peers: ReadonlySet<string>) => void) | undefined;
  /** A node did not answer, or refused; called once a minute at most. */
  readonly onFailure?: ((node: string, reason: string) => void) | undefined;
  /** The same, each time. */
  readonly onMiss?: ((node: string) => void) | undefined;
  /** Many nodes in one process, with the same list, have one directory in common. */
  readonly directory?: NodeDirectory | undefined;
  /** 0 to below 1. */
  readonly random?: (() => number) | undefined;
}

/** What is said to a node that sent a message. */
export type MeshAnswer =
  | { readonly kind: 'answer'; readonly body: Uint8Array }
  | { readonly kind: 'malformed'; readonly reason: string };

const TICK_MS = 1000;

/** The rows of the cluster at this node: its own, which it makes, and those of the others. */
export class Mesh {
  readonly #deps: MeshDeps;
  readonly #directory: NodeDirectory;
  readonly #store: RowStore;
  readonly #own: OwnRow;
  readonly #lossRoom = new LossRoom();
  readonly #exchange: Exchange | undefined;
  #self = '';
  #cancelTick: (() => void) | undefined;

  constructor(deps: MeshDeps) {
    this.#deps = deps;
    this.#directory = deps.directory ?? new NodeDirectory();
    this.#store = new RowStore(this.#directory);
    this.#own = new OwnRow({
      ...deps,
      directory: this.#directory,
      store: this.#store,
      lossRoom: this.#lossRoom,
      onNews: (row, base) => this.#exchange?.announce(row, base),
    });
    this.#exchange = this.#makeExchange(deps);
  }

  #makeExchange({
    clock,
    transport,
    random = Math.random,
    onFault,
    onFailure,
    onMiss,
  }: MeshDeps): Exchange | undefined {
    if (transport === undefined) return undefined;
    const [directory, store] = [this.#directory, this.#store];
    const own = (): number | undefined => this.#own.row?.slot;
    const parts = { clock, directory, store, lossRoom: this.#lossRoom, transport, random, own };
    return new Exchange({ ...parts, onFault, onFailure, onMiss });
  }

  start(): void {
    this.#tick();
    this.#exchange?.start();
  }

  /** Resolves when nothing is under way any more. May be called twice. */
  async stop(): Promise<void> {
    this.#cancelTick?.();
    await this.#exchange?.stop();
  }

  #tick(): void {
    const before = this.#own.row?.version;
    this.#own.tick();
    const { row } = this.#own;
    if (row !== undefined && row.version !== before) this.#exchange?.renewed(row);
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  /** Takes the node list. @param watched peers of which this node tells */
  follow(view: NodeView, watched: readonly string[]): void {
    atOnce(this.followSlices(view, watched));
  }

  /** The same slice by slice. */
  *followSlices(view: NodeView, watched: readonly string[]): Slices<void> {
    const names = view.nodes.map(({ name }) => name);
    const ids = yield* this.#directory.newIds(names);
    this.#self = view.self ?? '';
    this.#directory.update(
      view.nodes.map((node) => {
        const { name, zone } = node;
        return { name, zone, addresses: hostTargets(node).map(({ address }) => address) };
      }),
      ids,
    );
    if (view.self === undefined) return;
    this.#own.follow(view.self, watched);
    this.#exchange?.follow(view.self, names);
  }

  /** Whether this node tells of that peer, whatever its state. */
  watches(peer: string): boolean {
    return this.#own.watches(peer);
  }

  /** A path to that peer has changed its state. */
  pathChanged(peer: string): void {
    this.#own.tellNow([peer]);
  }

  /** A path to that peer was unreachable, and is not any more. */
  returned(peer: string): void {
    this.#exchange?.returned(peer);
  }

  /** Paths to these peers lost more than before. */
  tellLosses(peers: Iterable<string>): void {
    this.#own.tellLosses(peers);
  }

  /** More is known of a fault that is told already. @param anew what is told of it is told again */
  notesChanged(anew = false): void {
    const before = this.#own.row?.version ?? 0;
    if (!this.#own.tellNotesNow(anew)) return;
    const { row } = this.#own;
    if (row !== undefined) this.#exchange?.announce(row, before);
  }

  /** Whether a message from that address is one of a node's: only those are read. */
  isNode(address: string): boolean {
    return this.#directory.slotAt(address) !== undefined;
  }

  /** Answers a message of the node at that address, which `isNode` knows. */
  answer(request: RowRequest, address: string, body: Uint8Array): MeshAnswer {
    const slot = this.#directory.slotAt(address);
    if (this.#exchange === undefined || slot === undefined) {
      return { kind: 'malformed', reason: 'rows are not exchanged here' };
    }
    try {
      if (request === 'differences') return { kind: 'answer', body: this.#exchange.differences(body) };
      this.#exchange.news(slot, body);
      return { kind: 'answer', body: new Uint8Array() };
    } catch (error) {
      if (error instanceof RowFormatError) return { kind: 'malformed', reason: error.message };
      throw error;
    }
  }

  /** Undefined where nothing is exchanged. */
  counters(): Readonly<ExchangeCounters> | undefined {
    return this.#exchange?.counters();
  }

  matrix(): PackedMatrix {
    const { clock } = this.#deps;
    const [directory, store] = [this.#directory, this.#store];
    return matrixView({ directory, store, self: this.#self, nowMs: () => clock.nowMs() });
  }
}
