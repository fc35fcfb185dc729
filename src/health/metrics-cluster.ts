import type { Registry } from 'prom-client';
import type { FaultKind, HealthDiagnosis, MatrixView } from '../model/health.ts';
import { addFamily, addNumber } from './metrics-family.ts';
import type { PeerScore } from './worst-peers.ts';

/** Every kind of fault has a series, also while there is none: an alert on a rise needs the 0 before it. */
const FAULTS: Readonly<Record<FaultKind, true>> = {
  'node-down': true,
  'agent-hung': true,
  'stack-hung': true,
  loss: true,
  slow: true,
  'mtu-black-hole': true,
  'policy-drop': true,
  'route-missing': true,
  'nic-drop': true,
  drop: true,
  'icmp-filtered': true,
  'http-filtered': true,
  'echo-filtered': true,
  'canary-open': true,
};

const STATE_NUMBERS: Readonly<Record<HealthDiagnosis['state'], number>> = {
  unknown: 0,
  healthy: 1,
  degraded: 2,
  broken: 3,
};

/** The cluster as this node sees it: from the rows of all. */
export function addCluster(
  registry: Registry,
  diagnosis: () => HealthDiagnosis | undefined,
  matrix: () => MatrixView | undefined,
): void {
  addFamily(registry, {
    name: 'ciliate_health_verdicts',
    help: 'Faults of the cluster that were found, by kind',
    type: 'gauge',
    read: () => {
      const found = diagnosis()?.verdicts;
      if (found === undefined) return [];
      return Object.keys(FAULTS).map((fault) => {
        return { labels: { fault }, value: found.filter((verdict) => verdict.fault === fault).length };
      });
    },
  });
  addNumber(registry, {
    name: 'ciliate_health_cluster_state',
    help: 'What the verdicts come to: 0 unknown, 1 healthy, 2 degraded, 3 broken',
    type: 'gauge',
    read: () => {
      const state = diagnosis()?.state;
      return state === undefined ? undefined : STATE_NUMBERS[state];
    },
  });
  addNumber(registry, {
    name: 'ciliate_health_rows_silent',
    help: 'Nodes whose row is missing or too old',
    type: 'gauge',
    read: () => diagnosis()?.silent.length,
  });
  addNumber(registry, {
    name: 'ciliate_health_row_age_max_seconds',
    help: 'Age of the oldest row of another node that we have',
    type: 'gauge',
    read: () => oldestMs(matrix()),
  });
}

function oldestMs(matrix: MatrixView | undefined): number | undefined {
  if (matrix === undefined) return undefined;
  const ages = matrix.nodes
    .filter(({ name }) => name !== matrix.self)
    .map(({ name }) => matrix.ageMs(name) ?? 0);
  return ages.reduce((max, age) => Math.max(max, age), 0) / 1000;
}

/** Who fares worst, by name; see `WorstPeers`. How much slower they are than usual is in the score only: a series a place. */
export function addWorst(registry: Registry, worst: () => readonly PeerScore[]): void {
  const gauge = (name: string, help: string, read: (peer: PeerScore) => number): void =>
    addFamily(registry, {
      name: `ciliate_health_worst_peer_${name}`,
      help,
      type: 'gauge',
      read: () => worst().map((one) => ({ labels: { peer: one.peer }, value: read(one) })),
    });
  gauge('score', 'The peers that fare worst: 0 as it should be, 100 nothing answers', ({ score }) => score);
  gauge('loss_ratio', 'Probes to them without an answer in the last minute', ({ lossRatio }) => lossRatio);
}
