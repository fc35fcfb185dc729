import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Values of a metric's labels, by label. */
export type Labels = Readonly<Record<string, string>>;

/** One histogram that somebody else fills. */
export interface ToldHistogram {
  readonly labels: Labels;
  /** Observations of each bucket alone, the last one beyond every bound; those that are missing are none. */
  readonly counts: readonly number[];
  readonly sum: number;
}

type Collect<M> = (metric: M) => void | Promise<void>;

/** Metrics whose values somebody else keeps: read when they are asked for. */
export class MetricSet {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  gauge(name: string, help: string, collect: Collect<Gauge>, labelNames: string[] = []): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect: async () => {
        gauge.reset();
        await collect(gauge);
      },
    });
  }

  counter(name: string, help: string, labelNames: string[], collect: Collect<Counter>): void {
    const counter: Counter = new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect: async () => {
        counter.reset();
        await collect(counter);
      },
    });
  }

  /** @param buckets upper bounds */
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    read: () => readonly ToldHistogram[],
  ): void {
    this.#registry.registerMetric(new ReadHistogram(name, help, buckets, read));
  }
}

/** A histogram of the library that shows what it is told instead of what it observed. */
class ReadHistogram extends Histogram {
  readonly #name: string;
  /** Never observes anything: lends name, help and type. */
  readonly #shape: Histogram;
  readonly #buckets: readonly number[];
  readonly #read: () => readonly ToldHistogram[];

  constructor(name: string, help: string, buckets: readonly number[], read: () => readonly ToldHistogram[]) {
    super({ name, help, buckets: [...buckets], registers: [] });
    this.#name = name;
    this.#shape = new Histogram({ name, help, registers: [] });
    this.#buckets = buckets;
    this.#read = read;
  }

  override async get(): ReturnType<Histogram['get']> {
    const values = this.#read().flatMap((told) => this.#values(told));
    return { ...(await this.#shape.get()), values };
  }

  /** The text form has a way of its own into what a histogram of the library observed. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get();
  }

  #values({ labels, counts, sum }: ToldHistogram): Awaited<ReturnType<Histogram['get']>>['values'] {
    const [bucket, total] = [`${this.#name}_bucket`, `${this.#name}_count`];
    let count = 0;
    const buckets = [...this.#buckets, '+Inf'].map((le, i) => {
      count += counts[i] ?? 0;
      return { metricName: bucket, labels: { le, ...labels }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, labels, value: sum },
      { metricName: total, labels, value: count },
    ];
  }
}
