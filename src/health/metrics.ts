import { Registry } from 'prom-client';
import {
  DEFAULT_CPU_PERCENT,
  DEFAULT_PACKETS_PER_SECOND,
  type EngineSelf,
} from '../../probes/engine/index.ts';
import type { HealthDiagnosis, MatrixView } from '../model/health.ts';
import type { HealthMetricsNames } from '../model/health-metrics-names.ts';
import type { Clock } from './clock.ts';
import type { Health } from './health.ts';
import { addCluster, addWorst } from './metrics-cluster.ts';
import { addPeers } from './metrics-peers.ts';
import { addLatency, addProbes } from './metrics-probes.ts';
import { addRows } from './metrics-rows.ts';
import { addEngine, addFollowers, addProcess, SlidingMax } from './metrics-self.ts';
import { addStates, addStatus, countTypes, type TypeCounts } from './metrics-states.ts';
import { peerScores } from './peer-scores.ts';
import type { ProbeTotal } from './probe-totals.ts';
import { type PeerScore, WorstPeers } from './worst-peers.ts';

export interface HealthMetrics {
  /** Prometheus text of this moment. */
  readonly text: () => Promise<string>;
  readonly contentType: string;
}

export interface HealthMetricsDeps {
  /** Asked at each scrape; undefined while the health agent is not up. */
  readonly health: () => Health | undefined;
  /** What the engine costs and loses; undefined where none runs. Asked once a scrape. */
  readonly engine: () => EngineSelf | undefined;
  /** What the rows of all nodes come to; undefined where rows are not told. */
  readonly diagnosis?: (() => HealthDiagnosis | undefined) | undefined;
  readonly matrix?: (() => MatrixView | undefined) | undefined;
  /** Followers of the events that were cut off because they did not read; undefined where events are not told. */
  readonly followersCut?: (() => number | undefined) | undefined;
  readonly clock: Pick<Clock, 'nowMs' | 'wallMs'>;
}

export interface HealthMetricsOptions {
  /** Default `1.17`. */
  readonly names?: HealthMetricsNames | undefined;
  /** Peers with series of their own, with the names of 1.16. Default 100. */
  readonly peersMax?: number | undefined;
  /** Budget of the engine, packets a second. Default: the engine's own. */
  readonly packetsPerSecond?: number | undefined;
  /** The same in CPU, percent of one core. Default: all of it. */
  readonly cpuPercent?: number | undefined;
  /** CPU, memory and event loop of this process; off where several nodes live in one. Default true. */
  readonly processMetrics?: boolean | undefined;
}

const PEERS_MAX = 100;
const LAG_SPAN_MS = 60_000;

/** What all families of one scrape are read from: taken once. */
interface Moment {
  readonly health: Health | undefined;
  readonly counts: TypeCounts | undefined;
  readonly totals: readonly ProbeTotal[];
  readonly worst: readonly PeerScore[];
  readonly self: EngineSelf | undefined;
  readonly lagNs: number | undefined;
  readonly diagnosis: HealthDiagnosis | undefined;
  readonly matrix: MatrixView | undefined;
}

function momentTaker(deps: HealthMetricsDeps): () => Moment {
  const worst = new WorstPeers();
  const lag = new SlidingMax(LAG_SPAN_MS);
  return () => {
    const nowMs = deps.clock.nowMs();
    const health = deps.health();
    const self = deps.engine();
    return {
      health,
      counts: health === undefined ? undefined : countTypes(health),
      totals: health?.totals() ?? [],
      worst: health === undefined ? [] : worst.take(peerScores(health.trackers()), nowMs),
      self,
      lagNs: self === undefined ? undefined : lag.take(self.lagMaxNs, nowMs),
      diagnosis: deps.diagnosis?.(),
      matrix: deps.matrix?.(),
    };
  };
}

/** The health agent's Prometheus families. Series do not grow with the cluster, but for the names of 1.16. */
export function createHealthMetrics(
  deps: HealthMetricsDeps,
  {
    names = '1.17',
    peersMax = PEERS_MAX,
    packetsPerSecond = DEFAULT_PACKETS_PER_SECOND,
    cpuPercent = DEFAULT_CPU_PERCENT,
    processMetrics,
  }: HealthMetricsOptions = {},
): HealthMetrics {
  const registry = new Registry();
  const take = momentTaker(deps);
  let moment: Moment | undefined;
  const health = (): Health | undefined => moment?.health;
  const counts = (): TypeCounts | undefined => moment?.counts;
  const totals = (): readonly ProbeTotal[] => moment?.totals ?? [];
  if (names !== '1.16') {
    addStatus(registry, counts);
    addLatency(registry, totals);
  }
  if (names !== '1.17') addPeers(registry, health, peersMax);
  addProbes(registry, totals);
  addStates(registry, { health, counts, wallMs: () => deps.clock.wallMs() });
  addWorst(registry, () => moment?.worst ?? []);
  addCluster(
    registry,
    () => moment?.diagnosis,
    () => moment?.matrix,
  );
  addRows(registry, () => moment?.health?.rows.counters());
  addFollowers(registry, deps.followersCut);
  addEngine(registry, () => moment?.self, { lagNs: () => moment?.lagNs, packetsPerSecond, cpuPercent });
  if (processMetrics !== false) addProcess(registry);
  const text = (): Promise<string> => {
    moment = take();
    return registry.metrics();
  };
  return { text, contentType: registry.contentType };
}
