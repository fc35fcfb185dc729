import type { HealthCell, RowNote } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import type { NodeView } from '../node-view.ts';
import { matrixView, type PackedMatrix } from './matrix.ts';
import { NodeDirectory } from './node-directory.ts';
import { OwnRow } from './own-row.ts';
import { RowStore } from './row-store.ts';

export interface MeshDeps {
  readonly clock: Clock;
  /** What this node knows of a peer. */
  readonly cell: (peer: string) => HealthCell | undefined;
  /** What else it found out, the gravest first. */
  readonly notes: () => readonly RowNote[];
}

const TICK_MS = 1000;

/** The rows of the cluster at this node: its own, which it makes, and those of the others. */
export class Mesh {
  readonly #deps: MeshDeps;
  readonly #directory = new NodeDirectory();
  readonly #store = new RowStore(this.#directory);
  readonly #own: OwnRow;
  #self = '';
  #cancelTick: (() => void) | undefined;

  constructor(deps: MeshDeps) {
    this.#deps = deps;
    this.#own = new OwnRow({ ...deps, directory: this.#directory, store: this.#store });
  }

  start(): void {
    this.#tick();
  }

  /** May be called twice. */
  stop(): void {
    this.#cancelTick?.();
  }

  #tick(): void {
    this.#own.tick();
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  /** Takes the node list. @param watched peers of which this node tells */
  follow(view: NodeView, watched: readonly string[]): void {
    this.#self = view.self ?? '';
    this.#directory.update(
      view.nodes.map(({ name, targets }) => {
        const own = targets.filter(({ kind }) => kind === 'node');
        return { name, addresses: own.map(({ address }) => address) };
      }),
    );
    if (view.self !== undefined) this.#own.follow(view.self, watched);
  }

  /** A path to that peer has changed its state. */
  pathChanged(peer: string): void {
    this.#own.tellNow([peer]);
  }

  matrix(): PackedMatrix {
    const { clock } = this.#deps;
    const [directory, store] = [this.#directory, this.#store];
    return matrixView({ directory, store, self: this.#self, nowMs: () => clock.nowMs() });
  }
}
