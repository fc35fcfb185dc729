import type { ProbeReadiness } from '../../probes/types.ts';
import type { HealthStatusResponse } from '../api/schema.ts';
import type { IpFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { HealthCell, HealthDiagnosis, PathChange, PathReport } from '../model/health.ts';
import { ChangeLog } from './change-log.ts';
import { type Clock, type Instant, instantOf } from './clock.ts';
import { Cluster } from './cluster.ts';
import { Confirmer } from './confirmer.ts';
import { LookRounds } from './look-rounds.ts';
import { LossRounds } from './loss/loss-rounds.ts';
import type { OwnDropsDeps } from './loss/own-drops.ts';
import type { PackedMatrix, RowService, RowTransport } from './mesh/index.ts';
import type { NodeProvider, NodeView } from './node-view.ts';
import { PathBook } from './path-book.ts';
import { Planning, type PlanningDeps, type PlanningOptions } from './planning.ts';
import { probeReadiness } from './probe-readiness.ts';
import { probeRound } from './probe-round.ts';
import { type ProbeRun, type ProbeRunOptions, runProbes } from './probe-run.ts';
import type { ProbeTotal } from './probe-totals.ts';
import type { PathProber } from './prober.ts';
import { FilterLog } from './state/filtered.ts';
import type { PathTracker } from './state/path-tracker.ts';
import { HealthStatus } from './status.ts';

export interface HealthOptions extends PlanningOptions {
  /** How long `probeNow` takes at most; what has not ended by then keeps its last result. */
  readonly probeNowMs?: number | undefined;
  /** Changes of state that are kept. Default 10,000. */
  readonly historyMax?: number | undefined;
}

export interface HealthDeps {
  readonly nodes: NodeProvider;
  /** The first that can probe a path does. */
  readonly probers: readonly PathProber[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Called, one after the other, with each list of nodes that is taken: whom the echo responder may answer. */
  readonly onNodes?: PlanningDeps['followers'] | undefined;
  /** How rows come from other nodes and go there; undefined: only our own is known. */
  readonly rows?: RowTransport | undefined;
  /** What this node's datapath saw of a path, whoever probes it; undefined: it has none. */
  readonly readDatapath?: OwnDropsDeps['read'] | undefined;
  /** 0 to below 1. */
  readonly random?: (() => number) | undefined;
}

/** Measures reachability and latency from this node to every node and health endpoint. */
export interface Health {
  /** Starts the probes; resolves without waiting for results. */
  start(): Promise<void>;
  /** Releases everything. May be called twice. */
  stop(): Promise<void>;
  /** The last results in Cilium's form, at once. */
  status(): HealthStatusResponse;
  /** The same as JSON in UTF-8: much less work where little has changed. */
  statusText(): Buffer<ArrayBuffer>;
  /** Probes every path now, waits a bounded time, answers with what is known then. */
  probeNow(): Promise<HealthStatusResponse>;
  /** Probes the paths to some peers now, and tells what came of these probes. */
  probe(peers: readonly string[], options: ProbeRunOptions): Promise<ProbeRun>;
  /** All paths, or those to one peer, with all that is known of them. */
  reports(peer?: string): PathReport[];
  /** What is told to the other nodes of a peer. */
  cell(peer: string): HealthCell | undefined;
  /** Changes of state, the oldest first; of those after `sinceMs` (realtime) if it is given. */
  history(sinceMs?: number): readonly PathChange[];
  /** Calls back at each change of a path's state. */
  onChange(listener: (change: PathChange) => void): void;
  trackers(): readonly PathTracker[];
  /** How many paths should be probed and are not, for there is no room for them. */
  unprobed(): number;
  /** Sums over all paths that are or were open; they never fall. */
  totals(): readonly ProbeTotal[];
  nodes(): NodeView;
  /** The rows of all nodes as this node holds them now: to be read at once. */
  matrix(): PackedMatrix;
  /** What is broken in the cluster, as of the last second or the last fault that came or went, here or in another's row. */
  diagnosis(): HealthDiagnosis;
  /** Answers the messages with which other nodes exchange rows. */
  readonly rows: RowService;
  /** From one probe of an address to the next, ms. */
  intervalMs(): number;
  readiness(kind: string, family: IpFamily): ProbeReadiness;
}

const DEFAULT_PROBE_NOW_MS = 1500;

class HealthAgent implements Health {
  readonly #options: HealthOptions;
  readonly #deps: HealthDeps;
  readonly #book: PathBook;
  readonly #planning: Planning;
  readonly #cluster: Cluster;
  readonly #changes: ChangeLog;
  readonly #filterLog: FilterLog;
  readonly #confirmer: Confirmer;
  readonly #losses: LossRounds;
  readonly #status: HealthStatus;
  readonly #looks: LookRounds;
  #running = false;

  constructor(options: HealthOptions, deps: HealthDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#filterLog = new FilterLog(deps.log);
    this.#changes = new ChangeLog(deps.log, deps.clock, options.historyMax);
    this.#book = new PathBook(
      deps.probers,
      () => this.#now(),
      (change) => this.#changed(change),
    );
    const parts = { clock: deps.clock, log: deps.log, book: this.#book, view: () => deps.nodes.view() };
    const { rows: transport, readDatapath, random = Math.random } = deps;
    this.#cluster = new Cluster({ ...parts, transport, readDatapath, random });
    this.#planning = new Planning(options, {
      ...parts,
      followers: [(view, watched) => this.#cluster.rows.followSlices(view, watched), ...(deps.onNodes ?? [])],
    });
    this.#confirmer = new Confirmer({ ...parts, onHeard: (peers) => this.#cluster.pathsChanged(peers) });
    this.#losses = new LossRounds({ ...parts, onFound: () => this.#cluster.lossFound() });
    this.#looks = new LookRounds({ ...parts, onRound: (at) => this.#round(at) });
    this.#status = new HealthStatus({
      ...parts,
      nodes: deps.nodes,
      intervalMs: () => this.intervalMs(),
      icmp: (family) => this.readiness('host-host/icmp', family),
    });
  }

  get rows(): RowService {
    return this.#cluster.rows;
  }

  #now(): Instant {
    return instantOf(this.#deps.clock);
  }

  async start(): Promise<void> {
    const { nodes, probers } = this.#deps;
    this.#running = true;
    this.#planning.start();
    nodes.onChange(() => this.#planning.soon());
    await Promise.all(probers.map((prober) => prober.start()));
    this.#tellReadiness();
    await nodes.start();
    const planned = this.#planning.now();
    this.#looks.start();
    this.#cluster.start();
    await planned;
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#looks.stop();
    this.#planning.stop();
    this.#confirmer.stop();
    this.#losses.stop();
    await this.#cluster.stop();
    await this.#deps.nodes.stop();
    await Promise.all(this.#deps.probers.map((prober) => prober.stop()));
    this.#changes.stop();
  }

  #tellReadiness(): void {
    for (const family of [4, 6] as const) {
      const ready = this.readiness('host-host/icmp', family);
      if (ready.ready) this.#deps.log.info({ family, mode: ready.mode }, 'ICMP probes are ready');
      else this.#deps.log.warn({ family, reason: ready.reason }, 'no ICMP probes: paths stay unknown');
    }
  }

  /** All paths have been looked at once more. */
  #round(at: Instant): void {
    const book = this.#book;
    this.#status.tick();
    this.#losses.tick();
    this.#confirmer.askSilentKernels(new Set([...book.ailing].map(({ path }) => path.peer)));
    this.#filterLog.look(book.ailing, (peer) => book.trackers(peer));
    this.#cluster.round(at);
  }

  #changed(change: PathChange): void {
    const { path, from, to } = change;
    this.#cluster.pathsChanged([path.peer]);
    // What is told of a silence is taken back with it: the next one may have another cause.
    if (to === 'degraded' || from === 'degraded' || from === 'unreachable') this.#cluster.causesChanged();
    if (to === 'unreachable' || from === 'unreachable') this.#confirmer.confirm(path.peer, to);
    if (to === 'unreachable') this.#losses.died(path);
    if (from === 'unreachable' && to === 'reachable') this.#cluster.rows.returned(path.peer);
    this.#changes.add(change);
  }

  async probeNow(): Promise<HealthStatusResponse> {
    const { clock } = this.#deps;
    const timeoutMs = this.#options.probeNowMs ?? DEFAULT_PROBE_NOW_MS;
    this.#status.beginRound();
    await probeRound(this.#book, { timeoutMs, clock, running: () => this.#running });
    this.#book.tick(this.#now());
    return this.status();
  }

  async probe(peers: readonly string[], options: ProbeRunOptions): Promise<ProbeRun> {
    const { clock } = this.#deps;
    const run = await runProbes(this.#book.probed(peers), options, { clock, running: () => this.#running });
    this.#book.tick(this.#now());
    return run;
  }

  status(): HealthStatusResponse {
    return this.#status.answer();
  }

  statusText(): Buffer<ArrayBuffer> {
    return this.#status.text();
  }

  reports(peer?: string): PathReport[] {
    return this.#book.reports(this.#deps.clock.nowMs(), peer);
  }

  cell(peer: string): HealthCell | undefined {
    return this.#book.cell(peer, this.#deps.clock.nowMs());
  }

  history(sinceMs = Number.NEGATIVE_INFINITY): readonly PathChange[] {
    return this.#changes.since(sinceMs);
  }

  onChange(listener: (change: PathChange) => void): void {
    this.#changes.onChange(listener);
  }

  trackers(): readonly PathTracker[] {
    return this.#book.trackers();
  }

  unprobed(): number {
    return this.#book.refused;
  }

  totals(): readonly ProbeTotal[] {
    return this.#book.totals();
  }

  nodes(): NodeView {
    return this.#deps.nodes.view();
  }

  matrix(): PackedMatrix {
    return this.#cluster.matrix();
  }

  diagnosis(): HealthDiagnosis {
    return this.#cluster.diagnosis();
  }

  intervalMs(): number {
    return this.#planning.periodMs;
  }

  readiness(kind: string, family: IpFamily): ProbeReadiness {
    return probeReadiness(this.#deps.probers, kind, family);
  }
}

export function createHealth(options: HealthOptions, deps: HealthDeps): Health {
  return new HealthAgent(options, deps);
}
