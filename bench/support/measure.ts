/** The middle value; of an even count the mean of the two in the middle. @throws RangeError on no values */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.ceil((sorted.length - 1) / 2)];
  if (low === undefined || high === undefined) throw new RangeError('median of no values');
  return (low + high) / 2;
}

/** The value that a share of all is not above; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** One thing to measure: `run` does it once and resolves to the figure. */
export interface Variant {
  readonly name: string;
  run(): number | Promise<number>;
}

/**
 * Measures variants round by round, A B C A B C ..., the order turned by one each round, so that what else the machine
 * does falls on all of them alike.
 * @returns per variant its figures in the order of the rounds
 */
export async function interleave(
  variants: readonly Variant[],
  rounds: number,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const figures = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < variants.length; i++) {
      const variant = variants[(i + round) % variants.length];
      if (variant !== undefined) figures.get(variant.name)?.push(await variant.run());
    }
  }
  return figures;
}

/** One line of a bench's result: what, the figure, its unit, and the aim it is held against. */
export interface BenchRow {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** `<= 60`, in the row's own unit; absent where there is none. */
  readonly aim?: string;
}

function meets(row: BenchRow): string {
  const [, sign, bound] = /^(<=|>=) ([\d.]+)$/.exec(row.aim ?? '') ?? [];
  if (sign === undefined) return '';
  const met = sign === '<=' ? row.value <= Number(bound) : row.value >= Number(bound);
  return met ? 'met' : 'NOT MET';
}

/** Prints rows as a table on stdout, and as one JSON line when `--json` is among the arguments. */
export function report(title: string, rows: readonly BenchRow[]): void {
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ title, rows }));
    return;
  }
  console.log(`\n${title}`);
  const width = Math.max(...rows.map(({ what }) => what.length));
  for (const row of rows) {
    const figure = `${row.value >= 100 ? row.value.toFixed(0) : row.value.toFixed(2)} ${row.unit}`;
    console.log(
      `  ${row.what.padEnd(width)}  ${figure.padStart(16)}  ${(row.aim ?? '').padEnd(10)} ${meets(row)}`.trimEnd(),
    );
  }
}
