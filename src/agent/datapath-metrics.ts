import type { Datapath, DatapathCounter, MapUsage } from '../datapath/types.ts';
import type { MetricSet } from './metric-set.ts';

export interface DatapathMetricsDeps {
  readonly datapath: Datapath;
  /** Text of a drop reason. */
  readonly reasonText: (reason: number) => string;
}

/** Reasons below it are ways of forwarding. */
const FIRST_DROP_REASON = 130;

type Value = (counter: DatapathCounter) => bigint;
const packets: Value = (counter) => counter.packets;
const bytes: Value = (counter) => counter.bytes;

function pressureOf({ entries, maxEntries }: MapUsage): number {
  return maxEntries === 0 ? 0 : entries / maxEntries;
}

/** Adds what the kernel counts of packets, and how full its maps are. */
export function addDatapathMetrics(set: MetricSet, deps: DatapathMetricsDeps): void {
  addPackets(set, deps);
  addMaps(set, deps.datapath);
}

function addPackets(set: MetricSet, { datapath, reasonText }: DatapathMetricsDeps): void {
  const read = shared(() => datapath.readCounters());
  const forwards = (name: string, help: string, value: Value): void =>
    set.counter(name, help, ['direction'], async (counter) => {
      for (const line of await read()) {
        if (line.reason < FIRST_DROP_REASON)
          counter.inc({ direction: line.direction.toUpperCase() }, Number(value(line)));
      }
    });
  const drops = (name: string, help: string, value: Value): void =>
    set.counter(name, help, ['direction', 'reason'], async (counter) => {
      for (const line of await read()) {
        if (line.reason < FIRST_DROP_REASON) continue;
        const labels = { direction: line.direction.toUpperCase(), reason: reasonText(line.reason) };
        counter.inc(labels, Number(value(line)));
      }
    });
  forwards('cilium_forward_count_total', 'Packets forwarded by direction', packets);
  forwards('cilium_forward_bytes_total', 'Bytes forwarded by direction', bytes);
  drops('cilium_drop_count_total', 'Packets dropped by reason and direction', packets);
  drops('cilium_drop_bytes_total', 'Bytes dropped by reason and direction', bytes);
}

function addMaps(set: MetricSet, datapath: Datapath): void {
  const read = shared(() => datapath.readMapUsage());
  const labels = ['map_name'];
  set.gauge(
    'cilium_bpf_map_pressure',
    'Fill of a map, 0 to 1',
    async (gauge) => {
      for (const map of await read()) gauge.set({ map_name: map.name }, pressureOf(map));
    },
    labels,
  );
  set.counter('ciliate_bpf_map_write_errors_total', 'Failed writes to a map', labels, async (counter) => {
    for (const map of await read()) counter.inc({ map_name: map.name }, map.errors);
  });
}

/** One read for all that ask within the same scrape. */
function shared<T>(read: () => Promise<T>): () => Promise<T> {
  let pending: Promise<T> | undefined;
  return () => {
    pending ??= read().finally(() => {
      pending = undefined;
    });
    return pending;
  };
}
