import type { Registry } from 'prom-client';
import { PROBE_KINDS, type ProbeKind } from '../model/health.ts';
import { addFamily, addNumber, type Sample } from './metrics-family.ts';
import { cumulative, type ProbeResultName, type ProbeTotal } from './probe-totals.ts';

/**
 * Upper bounds, seconds. From 10 us: an ordinary round trip within a data centre lies far below Cilium's first bucket of
 * 1 ms. Packets are timed in the kernel; requests take a process's time too, so theirs begin later and are fewer. A
 * node's series are counted (test/health/metrics.test.ts), so each bound has its price.
 */
const PACKET_BOUNDS = [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.1];
/** Of packets to health endpoints, and of echoes by programs: beside those of hosts. */
const ENDPOINT_BOUNDS = [0.000_01, 0.000_03, 0.000_1, 0.001, 0.01, 0.1];
const ECHO_BOUNDS = [0.000_01, 0.000_1, 0.001, 0.01, 0.1];
const REQUEST_BOUNDS = [0.000_3, 0.001, 0.005, 0.025, 0.25];

const LATENCY = 'cilium_node_health_connectivity_latency_seconds';
const FAMILY_RTT = 'ciliate_health_family_rtt_seconds';
const ODD_ANSWERS = ['late', 'duplicate', 'reordered'] as const;

type Totals = () => readonly ProbeTotal[];

function kindOf({ kind }: ProbeTotal): ProbeKind | undefined {
  return PROBE_KINDS[kind];
}

function sumOf(totals: readonly ProbeTotal[], ...names: readonly ProbeResultName[]): number {
  return totals.reduce((sum, { results }) => sum + names.reduce((all, name) => all + results[name], 0), 0);
}

function counted({ histogram }: ProbeTotal): number {
  return histogram.reduce((sum, one) => sum + one, 0);
}

/** What one kind of path comes to over all addresses and families. */
function byKind(totals: readonly ProbeTotal[]): ReadonlyMap<ProbeKind, readonly ProbeTotal[]> {
  const kinds = new Map<ProbeKind, ProbeTotal[]>();
  for (const total of totals) {
    const kind = kindOf(total);
    if (kind !== undefined) kinds.set(kind, [...(kinds.get(kind) ?? []), total]);
  }
  return kinds;
}

/** What Cilium's labels have room for: from the host to the first address of a node or of its health endpoint. */
export function addLatency(registry: Registry, totals: Totals): void {
  addFamily(registry, {
    name: LATENCY,
    help: 'Round-trip time of health probes that were answered, by kind of target and protocol',
    type: 'histogram',
    read: () => [...latencies(totals())].flatMap(([, one]) => latencySeries(one)),
  });
}

interface Latency {
  readonly labels: Readonly<Record<string, string>>;
  readonly bounds: readonly number[];
  readonly totals: ProbeTotal[];
}

function latencies(totals: readonly ProbeTotal[]): ReadonlyMap<string, Latency> {
  const found = new Map<string, Latency>();
  for (const total of totals) {
    const kind = kindOf(total);
    if (kind?.from !== 'host' || kind.expects !== 'answer' || !total.primary) continue;
    const type = kind.to === 'host' ? 'node' : 'endpoint';
    const labels = { type, protocol: kind.responder, address_type: 'primary' };
    const bounds = boundsOf(kind);
    const key = `${type} ${kind.responder}`;
    const one: Latency = found.get(key) ?? { labels, bounds, totals: [] };
    one.totals.push(total);
    found.set(key, one);
  }
  return found;
}

function boundsOf({ responder, to }: ProbeKind): readonly number[] {
  if (responder === 'http') return REQUEST_BOUNDS;
  if (responder === 'echo') return ECHO_BOUNDS;
  return to === 'host' ? PACKET_BOUNDS : ENDPOINT_BOUNDS;
}

function latencySeries({ labels, bounds, totals }: Latency): readonly Sample[] {
  const boundsNs = bounds.map((seconds) => seconds * 1e9);
  const counts = totals.map(({ histogram }) => cumulative(histogram, boundsNs));
  const count = totals.reduce((sum, total) => sum + counted(total), 0);
  const sumNs = totals.reduce((sum, total) => sum + total.sumNs, 0);
  const bucket = (le: number | string, value: number): Sample => {
    return { metricName: `${LATENCY}_bucket`, labels: { ...labels, le }, value };
  };
  return [
    ...bounds.map((le, i) =>
      bucket(
        le,
        counts.reduce((sum, one) => sum + (one[i] ?? 0), 0),
      ),
    ),
    bucket('+Inf', count),
    { metricName: `${LATENCY}_sum`, labels, value: sumNs / 1e9 },
    { metricName: `${LATENCY}_count`, labels, value: count },
  ];
}

/** Outcomes of probes: each is answered or lost; the rest says how. */
export function addProbes(registry: Registry, totals: Totals): void {
  addFamily(registry, {
    name: 'ciliate_health_probes_total',
    help: 'Health probes by outcome; lost: no answer in time, an error instead of one, or not sent',
    type: 'counter',
    read: () =>
      [...byKind(totals())].flatMap(([{ pathClass, responder }, of]) => {
        const labels = { path: pathClass, protocol: responder };
        return [
          { labels: { ...labels, result: 'answered' }, value: sumOf(of, 'answered') },
          { labels: { ...labels, result: 'lost' }, value: sumOf(of, 'lost', 'failed') },
        ];
      }),
  });
  addFamily(registry, {
    name: 'ciliate_health_odd_answers_total',
    help: 'Answers that came after the deadline, a second time, or out of order',
    type: 'counter',
    read: () => ODD_ANSWERS.map((oddity) => ({ labels: { oddity }, value: sumOf(totals(), oddity) })),
  });
  addNumber(registry, {
    name: 'ciliate_health_refused_total',
    help: 'Probes that the kernel did not send, or that an error came back for; also counted as lost',
    type: 'counter',
    read: () => sumOf(totals(), 'failed'),
  });
  addFamilies(registry, totals);
}

/** IPv4 and IPv6 apart, packets only: how both fare, without a histogram each. */
function addFamilies(registry: Registry, totals: Totals): void {
  const of = (family: 4 | 6): readonly ProbeTotal[] =>
    totals().filter((total) => {
      const kind = kindOf(total);
      return total.family === family && kind?.responder !== 'http' && kind?.expects === 'answer';
    });
  addFamily(registry, {
    name: FAMILY_RTT,
    help: 'Round-trip time of answered probe packets, by address family',
    type: 'summary',
    read: () =>
      ([4, 6] as const).flatMap((family) => {
        const [labels, all] = [{ family: `ipv${family}` }, of(family)];
        const sumNs = all.reduce((sum, total) => sum + total.sumNs, 0);
        const count = all.reduce((sum, total) => sum + counted(total), 0);
        return [
          { metricName: `${FAMILY_RTT}_sum`, labels, value: sumNs / 1e9 },
          { metricName: `${FAMILY_RTT}_count`, labels, value: count },
        ];
      }),
  });
  addFamily(registry, {
    name: 'ciliate_health_family_lost_total',
    help: 'Probe packets without an answer, by address family',
    type: 'counter',
    read: () =>
      ([4, 6] as const).map((family) => {
        return { labels: { family: `ipv${family}` }, value: sumOf(of(family), 'lost', 'failed') };
      }),
  });
}
