import type { Logger } from '../base/log.ts';
import type { HealthDiagnosis, PathReport } from '../model/health.ts';
import { Asker } from './asker.ts';
import { type Clock, type Instant, instantOf } from './clock.ts';
import { HeardEchoes } from './heard-echoes.ts';
import { KeptDiagnosis } from './kept-diagnosis.ts';
import { LoneFilter } from './lone-filter.ts';
import { OwnDrops, type OwnDropsDeps } from './loss/own-drops.ts';
import { Mesh, notesOf, type PackedMatrix, type RowTransport } from './mesh/index.ts';
import type { NodeView } from './node-view.ts';
import { OwnFilter } from './own-filter.ts';
import type { PathBook } from './path-book.ts';

export interface ClusterDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly book: PathBook;
  readonly view: () => NodeView;
  /** Undefined: only our own row is known. */
  readonly transport: RowTransport | undefined;
  /** What this node's datapath saw of a path; undefined: it has none. */
  readonly readDatapath: OwnDropsDeps['read'] | undefined;
  /** 0 to below 1. */
  readonly random: () => number;
}

/** By then its other paths have answered, or are dead themselves. */
const JUST_DIED_MS = 10_000;
/** All paths of a peer become degraded within about as long; the others must know why before they take it for slowness. */
const WHY_MS = 200;

/** This node among the others: what it tells them of its paths, what they tell, and what all of it comes to. */
export class Cluster {
  readonly rows: Mesh;
  readonly #deps: ClusterDeps;
  readonly #asker: Asker;
  readonly #echoes: HeardEchoes;
  readonly #diagnosis: KeptDiagnosis;
  readonly #drops: OwnDrops;
  readonly #filter: OwnFilter;
  readonly #loneFilter: LoneFilter;
  #cancelWhy: (() => void) | undefined;

  constructor(deps: ClusterDeps) {
    this.#deps = deps;
    const nodes = (): number => deps.view().nodes.length;
    this.#asker = new Asker({ ...deps, nodes });
    const watches = (peer: string): boolean => this.rows.watches(peer);
    this.#echoes = new HeardEchoes({ ...deps, nodes, watches });
    this.#diagnosis = new KeptDiagnosis(
      () => this.matrix(),
      (peer) => this.#reports(peer),
    );
    const { clock, log, readDatapath: read = () => [] } = deps;
    this.#drops = new OwnDrops({
      clock,
      read,
      onChange: () => this.lossFound(),
      onAgain: () => this.rows.notesChanged(true),
      onFailure: (reason) => log.warn({ reason }, 'what our policy drops of probes is not known'),
    });
    this.#filter = new OwnFilter({
      ...deps,
      matrix: () => this.matrix(),
      onChange: () => this.lossFound(),
      onAgain: () => this.rows.notesChanged(true),
    });
    this.#loneFilter = new LoneFilter(deps);
    this.rows = this.#makeMesh(deps);
    deps.book.onSuspect((path) => this.#asker.suspect(path));
  }

  #makeMesh({ clock, book, transport, log, view, random }: ClusterDeps): Mesh {
    return new Mesh({
      clock,
      cell: (peer) => book.cell(peer, clock.nowMs()),
      notes: () => {
        const self = view().self ?? '';
        const own = [...this.#drops.notes(self), ...this.#filter.notes(self)];
        return [...own, ...this.#loneFilter.notes(), ...notesOf(this.#ailingReports())];
      },
      transport,
      random,
      onFault: (peers) => {
        this.#diagnosis.changed();
        this.#echoes.heard(peers);
        this.#asker.heard(peers);
        if (!peers.has(view().self ?? '')) return;
        this.#drops.repeat();
        this.#filter.heard();
      },
      onMiss: (peer) => this.#asker.missed(peer),
      onFailure: (peer, reason) => log.info({ peer, reason }, 'a node does not exchange rows with us'),
    });
  }

  start(): void {
    this.rows.start();
    this.#filter.start();
    if (this.#deps.readDatapath !== undefined) this.#drops.start();
  }

  /** May be called twice. */
  async stop(): Promise<void> {
    this.#asker.stop();
    this.#echoes.stop();
    this.#drops.stop();
    this.#filter.stop();
    this.#cancelWhy?.();
    await this.rows.stop();
  }

  /** All paths have been looked at once more. */
  round({ nowMs }: Instant): void {
    this.#tellDead(nowMs);
    if (this.#loneFilter.look()) this.lossFound();
    this.rows.tellLosses(this.#deps.book.takeLossy());
    this.diagnosis();
  }

  /** Of a peer with a path that just died is told what its other paths say since then, as soon as they say it. */
  #tellDead(nowMs: number): void {
    const dead = [...this.#deps.book.ailing].filter(({ deadMs }) => {
      return deadMs !== undefined && nowMs - deadMs < JUST_DIED_MS;
    });
    for (const peer of new Set(dead.map(({ path }) => path.peer))) this.rows.pathChanged(peer);
    // What answers since tells a firewall from a way that is cut.
    if (dead.length > 0) this.causesChanged();
  }

  /** Paths to these peers changed their state, or were heard of after that. */
  pathsChanged(peers: Iterable<string>): void {
    for (const peer of peers) this.rows.pathChanged(peer);
    this.#diagnosis.changed();
  }

  /** More may be known of why paths are as they are: it is told within a moment, once for all of them. */
  causesChanged(): void {
    this.#cancelWhy ??= this.#deps.clock.after(WHY_MS, () => {
      this.#cancelWhy = undefined;
      this.lossFound();
    });
  }

  /** More is known of where probes are lost. */
  lossFound(): void {
    this.rows.notesChanged();
    this.#diagnosis.changed();
  }

  matrix(): PackedMatrix {
    return this.rows.matrix();
  }

  diagnosis(): HealthDiagnosis {
    return this.#diagnosis.at(instantOf(this.#deps.clock));
  }

  #reports(peer: string): PathReport[] {
    const { book, clock } = this.#deps;
    return book.reports(clock.nowMs(), peer);
  }

  /** Of peers with a path that is not well: the reports of all paths cost too much to be made every few seconds. */
  #ailingReports(): PathReport[] {
    const peers = new Set(Array.from(this.#deps.book.ailing, ({ path }) => path.peer));
    return [...peers].flatMap((peer) => this.#reports(peer));
  }
}
