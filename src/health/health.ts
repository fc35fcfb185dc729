import type { ProbeReadiness } from '../../probes/types.ts';
import type { HealthStatusResponse } from '../api/schema.ts';
import { errorText } from '../base/errors.ts';
import type { IpFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import {
  type HealthCell,
  type HealthDiagnosis,
  type PathChange,
  type PathReport,
  type PathState,
  PROBE_KINDS,
  type ProbePath,
} from '../model/health.ts';
import type { Clock } from './clock.ts';
import { Diagnoser } from './locate/index.ts';
import { Mesh, notesOf, type PackedMatrix, type RowService, type RowTransport } from './mesh/index.ts';
import type { NodeProvider, NodeView } from './node-view.ts';
import { PathBook } from './path-book.ts';
import { type ProbeInterval, periodMs } from './plan/interval.ts';
import { type PlanOptions, planPaths, watchedPeers } from './plan/planner.ts';
import { type ProbeRun, type ProbeRunOptions, runProbes } from './probe-run.ts';
import type { ProbeTotal } from './probe-totals.ts';
import type { PathProber } from './prober.ts';
import { FilterLog } from './state/filtered.ts';
import type { Instant, PathTracker } from './state/path-tracker.ts';
import { statusResponse } from './status-response.ts';

export interface HealthOptions {
  readonly interval: ProbeInterval;
  /** What a large cluster may cost. */
  readonly plan?: Omit<PlanOptions, 'periodMs'> | undefined;
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
  /** The node list has changed: whom the echo responder may answer. */
  readonly onNodes?: ((view: NodeView) => void) | undefined;
  /** How rows come from other nodes and go there; undefined: only our own is known. */
  readonly rows?: RowTransport | undefined;
}

/** Measures reachability and latency from this node to every node and health endpoint. */
export interface Health {
  /** Starts the probes; resolves without waiting for results. */
  start(): Promise<void>;
  /** Releases everything. May be called twice. */
  stop(): Promise<void>;
  /** The last results in Cilium's form, at once. */
  status(): HealthStatusResponse;
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
  /** Sums over all paths that are or were open; they never fall. */
  totals(): readonly ProbeTotal[];
  nodes(): NodeView;
  /** The rows of all nodes as this node holds them now: to be read at once. */
  matrix(): PackedMatrix;
  /** What is broken in the cluster, as of the last second or the last change of a state. */
  diagnosis(): HealthDiagnosis;
  /** Answers the messages with which other nodes exchange rows. */
  readonly rows: RowService;
  /** From one probe of an address to the next, ms. */
  intervalMs(): number;
  readiness(kind: string, family: IpFamily): ProbeReadiness;
}

const TICK_MS = 1000;
/** When the answers of a peer's other paths are looked for, after one of them died. */
const CONFIRM_MS = [100, 400] as const;
/** A diagnosis holds so long, if no state changes. */
const DIAGNOSIS_MS = 1000;
const PLAN_MS = 200;
const DEFAULT_PROBE_NOW_MS = 1500;
const PROBE_NOW_LOOK_MS = 20;
const HISTORY_MAX = 10_000;
/** Paths that are asked about a second. */
const LOSSES_AT_ONCE = 8;

class HealthAgent implements Health {
  readonly #options: HealthOptions;
  readonly #deps: HealthDeps;
  readonly #book: PathBook;
  readonly rows: Mesh;
  readonly #diagnoser = new Diagnoser();
  #diagnosis: { readonly diagnosis: HealthDiagnosis; readonly nowMs: number } | undefined;
  readonly #history: PathChange[] = [];
  readonly #filterLog: FilterLog;
  readonly #listeners: ((change: PathChange) => void)[] = [];
  /** Peers of which a path died or came back just now. */
  readonly #confirming = new Set<string>();
  #periodMs: number;
  #roundMs: number;
  #cancelTick: (() => void) | undefined;
  #cancelPlan: (() => void) | undefined;
  #plannedMs = Number.NEGATIVE_INFINITY;
  #running = false;

  constructor(options: HealthOptions, deps: HealthDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#filterLog = new FilterLog(deps.log);
    this.#roundMs = deps.clock.wallMs();
    this.#periodMs = periodMs(options.interval, 0);
    this.#book = new PathBook(
      deps.probers,
      () => this.#now(),
      (change) => this.#changed(change),
    );
    this.rows = new Mesh({
      clock: deps.clock,
      cell: (peer) => this.cell(peer),
      notes: () => notesOf(this.#faultyReports()),
      transport: deps.rows,
      onFailure: (node, reason) => deps.log.info({ node, reason }, 'a node does not exchange rows with us'),
    });
  }

  #now(): Instant {
    const { clock } = this.#deps;
    return { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
  }

  async start(): Promise<void> {
    const { nodes, probers } = this.#deps;
    this.#running = true;
    nodes.onChange(() => this.#planSoon());
    await Promise.all(probers.map((prober) => prober.start()));
    this.#tellReadiness();
    await nodes.start();
    this.#plan();
    this.#tick();
    this.rows.start();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelTick?.();
    this.#cancelPlan?.();
    await this.rows.stop();
    await this.#deps.nodes.stop();
    await Promise.all(this.#deps.probers.map((prober) => prober.stop()));
  }

  #tellReadiness(): void {
    for (const family of [4, 6] as const) {
      const ready = this.readiness('host-host/icmp', family);
      if (ready.ready) this.#deps.log.info({ family, mode: ready.mode }, 'ICMP probes are ready');
      else this.#deps.log.warn({ family, reason: ready.reason }, 'no ICMP probes: paths stay unknown');
    }
  }

  /** A list that changes all the time is taken a few times a second. */
  #planSoon(): void {
    if (!this.#running || this.#cancelPlan !== undefined) return;
    const waitMs = Math.max(0, this.#plannedMs + PLAN_MS - this.#deps.clock.nowMs());
    if (waitMs === 0) {
      this.#plan();
      return;
    }
    this.#cancelPlan = this.#deps.clock.after(waitMs, () => {
      this.#cancelPlan = undefined;
      this.#plan();
    });
  }

  #plan(): void {
    if (!this.#running) return;
    const view = this.#deps.nodes.view();
    const at = this.#now();
    const addresses = view.nodes.reduce((count, { targets }) => count + targets.length, 0);
    this.#plannedMs = at.nowMs;
    this.#periodMs = periodMs(this.#options.interval, addresses);
    const options = { ...this.#options.plan, periodMs: this.#periodMs };
    const plan = planPaths(view.nodes, view.self, options, (path) => this.#canProbe(path, view.self));
    const refused = this.#book.refused;
    this.#book.follow(plan, at);
    if (this.#book.refused !== refused) this.#tellRefused();
    this.rows.follow(view, watchedPeers(view.nodes, view.self, options));
    this.#deps.onNodes?.(view);
  }

  #tellRefused(): void {
    const { size, refused } = this.#book;
    const { log } = this.#deps;
    if (refused === 0) log.info({ paths: size }, 'there is room for all paths again');
    else log.warn({ paths: size, refused }, 'no room for more paths: some are not probed');
  }

  /** What an endpoint sends to itself passes no policy; and our own echo does not answer on the loopback. */
  #canProbe(path: ProbePath, self: string | undefined): boolean {
    const kind = PROBE_KINDS[path.kind];
    const isLoop =
      path.peer === self &&
      (kind?.responder === 'echo' || (kind?.from === 'endpoint' && kind.to === 'endpoint'));
    return !isLoop && this.#book.proberOf(path) !== undefined;
  }

  #tick(): void {
    if (!this.#running) return;
    const at = this.#now();
    if (at.wallMs - this.#roundMs >= this.#periodMs || at.wallMs < this.#roundMs) this.#roundMs = at.wallMs;
    this.#book.tick(at);
    this.#askAgain();
    this.#filterLog.look(this.#book.trackers());
    this.diagnosis();
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  /** Of paths without a loss point a few are asked about again: their peer may not have answered. */
  #askAgain(): void {
    const unexplained = this.#book
      .trackers()
      .filter(({ state, lossPoint }) => state === 'unreachable' && lossPoint?.reason === undefined);
    for (const { path } of unexplained.slice(0, LOSSES_AT_ONCE)) this.#findLoss(path);
  }

  #findLoss(path: ProbePath): void {
    const { self, nodes } = this.#deps.nodes.view();
    const hosts = nodes.find(({ name }) => name === path.peer)?.targets.filter(({ kind }) => kind === 'node');
    const host = hosts?.find(({ family }) => family === path.family) ?? hosts?.[0];
    if (self === undefined || host === undefined || !this.#running) return;
    this.#book
      .findLoss(path, self, host.address)
      .then((found) => {
        if (!found || !this.#running) return;
        this.rows.notesChanged();
        this.#diagnosis = undefined;
      })
      .catch((error: unknown) =>
        this.#deps.log.warn({ peer: path.peer, error: errorText(error) }, 'loss point not found'),
      );
  }

  #changed(change: PathChange): void {
    this.#history.push(change);
    if (this.#history.length > (this.#options.historyMax ?? HISTORY_MAX)) this.#history.shift();
    const { path, from, to, reason } = change;
    const { peer, address } = path;
    const fields = { peer, path: PROBE_KINDS[path.kind]?.name, address, from, to, reason };
    if (to === 'unreachable') this.#deps.log.warn(fields, 'path is unreachable');
    else if (from !== 'unknown' || to !== 'reachable') this.#deps.log.info(fields, `path is ${to}`);
    this.rows.pathChanged(peer);
    this.#diagnosis = undefined;
    if (to === 'unreachable' || from === 'unreachable') this.#confirm(peer, to);
    for (const listener of this.#listeners) listener(change);
  }

  /**
   * What else of a peer died or came back with a path: its other paths are asked at once, whatever their pace, and soon
   * heard. Peers that die together are heard together.
   */
  #confirm(peer: string, became: PathState): void {
    if (this.#confirming.has(peer)) return;
    this.#confirming.add(peer);
    const others = this.#book.trackers(peer).filter(({ state }) => state !== became);
    this.#book.burst(others, 1, 1);
    if (this.#confirming.size > 1) return;
    const [firstMs, lastMs] = CONFIRM_MS;
    this.#deps.clock.after(firstMs, () => this.#hearConfirmed());
    this.#deps.clock.after(lastMs, () => {
      this.#hearConfirmed();
      this.#confirming.clear();
    });
  }

  #hearConfirmed(): void {
    if (!this.#running) return;
    for (const peer of this.#confirming) {
      this.#book.tickPeer(peer, this.#now());
      this.rows.pathChanged(peer);
    }
    this.#diagnosis = undefined;
  }

  async probeNow(): Promise<HealthStatusResponse> {
    const { clock } = this.#deps;
    const trackers = this.#book.trackers();
    const before = new Map(trackers.map((tracker) => [tracker, this.#ended(tracker)]));
    const deadlineMs = clock.nowMs() + (this.#options.probeNowMs ?? DEFAULT_PROBE_NOW_MS);
    this.#roundMs = clock.wallMs();
    this.#book.burst(trackers, 1, 1);
    // One that has just begun to fail is asked again by its prober: its answer is not in yet.
    const waits = (tracker: PathTracker): boolean =>
      this.#ended(tracker) === before.get(tracker) ||
      (tracker.state !== 'unreachable' && (this.#book.countsOf(tracker)?.lostInARow ?? 0) > 0);
    while (this.#running && clock.nowMs() < deadlineMs && trackers.some(waits)) {
      await new Promise<void>((resolve) => void clock.after(PROBE_NOW_LOOK_MS, resolve));
    }
    this.#book.tick(this.#now());
    return this.status();
  }

  /** Probes of a path that have an outcome. */
  #ended(tracker: PathTracker): number {
    const counts = this.#book.countsOf(tracker);
    return counts === undefined ? 0 : counts.answered + counts.lost + counts.failed;
  }

  async probe(peers: readonly string[], options: ProbeRunOptions): Promise<ProbeRun> {
    const { clock } = this.#deps;
    const run = await runProbes(this.#book.probed(peers), options, { clock, running: () => this.#running });
    this.#book.tick(this.#now());
    return run;
  }

  status(): HealthStatusResponse {
    return statusResponse({
      view: this.#deps.nodes.view(),
      trackers: this.#book.trackers(),
      roundMs: this.#roundMs,
      intervalMs: this.#periodMs,
      icmp: { 4: this.readiness('host-host/icmp', 4), 6: this.readiness('host-host/icmp', 6) },
    });
  }

  reports(peer?: string): PathReport[] {
    return this.#book.reports(this.#deps.clock.nowMs(), peer);
  }

  /** Of peers with a path that is not well: the reports of all paths cost too much to be made every few seconds. */
  #faultyReports(): PathReport[] {
    const faulty = this.#book
      .trackers()
      .filter(({ state }) => state === 'degraded' || state === 'unreachable');
    return [...new Set(faulty.map(({ path }) => path.peer))].flatMap((peer) => this.reports(peer));
  }

  cell(peer: string): HealthCell | undefined {
    return this.#book.cell(peer, this.#deps.clock.nowMs());
  }

  history(sinceMs = Number.NEGATIVE_INFINITY): readonly PathChange[] {
    return this.#history.filter(({ atMs }) => atMs > sinceMs);
  }

  onChange(listener: (change: PathChange) => void): void {
    this.#listeners.push(listener);
  }

  trackers(): readonly PathTracker[] {
    return this.#book.trackers();
  }

  totals(): readonly ProbeTotal[] {
    return this.#book.totals();
  }

  nodes(): NodeView {
    return this.#deps.nodes.view();
  }

  matrix(): PackedMatrix {
    return this.rows.matrix();
  }

  diagnosis(): HealthDiagnosis {
    const at = this.#now();
    if (this.#diagnosis === undefined || at.nowMs - this.#diagnosis.nowMs >= DIAGNOSIS_MS) {
      const diagnosis = this.#diagnoser.diagnose(this.matrix(), (peer) => this.reports(peer), at);
      this.#diagnosis = { diagnosis, nowMs: at.nowMs };
    }
    return this.#diagnosis.diagnosis;
  }

  intervalMs(): number {
    return this.#periodMs;
  }

  readiness(kind: string, family: IpFamily): ProbeReadiness {
    const path = { kind: PROBE_KINDS.findIndex(({ name }) => name === kind), family };
    const answers = this.#deps.probers.map((prober) => prober.readiness(path));
    const reasons = answers.filter((ready) => !ready.ready).map(({ reason }) => reason);
    return (
      answers.find(({ ready }) => ready) ?? {
        ready: false,
        reason: reasons.find((reason) => !reason.startsWith('not probed by')) ?? 'nothing probes it',
      }
    );
  }
}

export function createHealth(options: HealthOptions, deps: HealthDeps): Health {
  return new HealthAgent(options, deps);
}
