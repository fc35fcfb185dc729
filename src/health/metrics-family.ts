import type { Metric, Registry } from 'prom-client';

export interface Sample {
  readonly labels?: Readonly<Record<string, string | number>> | undefined;
  readonly value: number;
  /** Of a histogram or summary: with its suffix. */
  readonly metricName?: string | undefined;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  /** Asked at each scrape; empty while nothing is known. */
  readonly read: () => readonly Sample[];
}

/** A family whose numbers are kept elsewhere, in the form that prom-client's registry reads. */
export function addFamily(registry: Registry, { name, help, type, read }: Family): void {
  const metric = {
    name,
    help,
    type,
    aggregator: 'sum',
    get() {
      return { name, help, type, values: read(), aggregator: 'sum' };
    },
    reset() {
      // Nothing is kept here.
    },
  };
  registry.registerMetric(metric as unknown as Metric);
}

/** A family of one number; without a sample while it is unknown. */
export function addNumber(
  registry: Registry,
  { read, ...family }: Omit<Family, 'read'> & { readonly read: () => number | undefined },
): void {
  const samples = (): readonly Sample[] => {
    const value = read();
    return value === undefined ? [] : [{ value }];
  };
  addFamily(registry, { ...family, read: samples });
}
