/**
 * What it costs to find the places of faults in a cluster's rows: `npm run bench health-locate`. Processor time of this
 * process, so that what else the machine does is left out; each size beside one plain addition over the same matrix, in
 * turns. Rows are as they are at worst: all of them changed since the last look, 1 % of loss by chance, five dead nodes.
 * Before it, as many looks as an agent has had in its first minute. `accuracy` leaves the times out.
 */
import { Diagnoser } from '../src/health/locate/index.ts';
import { type EdgeRow, edgeRow, packCounts } from '../src/health/locate/loss-graph.ts';
import { peel } from '../src/health/locate/peel.ts';
import { drawFaults, placeText, SimMatrix } from '../test/health/locate-sim.ts';
import { Random } from '../test/support/random.ts';
import { type BenchRow, interleave, median, report } from './support/measure.ts';

const SENT = 60;
const ZONES = 4;
const ROUNDS = 9;
const LOOKS_BEFORE = 60;

function meshRows(nodes: number, random: Random): EdgeRow[] {
  const dead = new Set(Array.from({ length: 5 }, () => random.below(nodes)));
  return Array.from({ length: nodes }, (_, from) => {
    const targets = Uint16Array.from({ length: nodes - 1 }, (_none, i) => (i < from ? i : i + 1));
    const counts = Uint32Array.from(targets, (to) => {
      const lost = dead.has(from) || dead.has(to) ? SENT : random.below(100) < 45 ? 1 : 0;
      return packCounts(SENT, lost);
    });
    return edgeRow(targets, counts);
  });
}

function cpuMs(act: () => unknown): number {
  const before = process.cpuUsage();
  act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function sumAll(rows: readonly EdgeRow[]): number {
  let sum = 0;
  for (const { counts } of rows)
    for (let i = 0; i < counts.length; i++) sum += (counts[i] as number) & 0xffff;
  return sum;
}

async function peelCost(nodes: number, aim: string): Promise<BenchRow[]> {
  const rows = meshRows(nodes, new Random(nodes));
  const zones = Uint16Array.from({ length: nodes }, (_, i) => i % ZONES);
  for (let look = 0; look < LOOKS_BEFORE; look++) peel({ nodes, rows }, look % 2 === 0 ? {} : { zones });
  const figures = await interleave(
    [
      { name: 'peel', run: () => cpuMs(() => peel({ nodes, rows })) },
      { name: 'zoned', run: () => cpuMs(() => peel({ nodes, rows }, { zones })) },
      { name: 'sum', run: () => cpuMs(() => sumAll(rows)) },
    ],
    ROUNDS,
  );
  const of = (name: string, pick: (values: readonly number[]) => number): number =>
    pick(figures.get(name) ?? []);
  const least = (values: readonly number[]): number => Math.min(...values);
  const what = `${nodes} x ${nodes}, 5 dead nodes`;
  return [
    { what: `${what}, least`, value: of('peel', least), unit: 'ms', aim },
    { what: `${what}, median`, value: of('peel', median), unit: 'ms', aim },
    { what: `${what}, in ${ZONES} zones, median`, value: of('zoned', median), unit: 'ms', aim },
    { what: `${nodes} x ${nodes}, one plain addition`, value: of('sum', median), unit: 'ms' },
  ];
}

/** A whole diagnosis: rows read into edges, patterns of states, verdicts. */
async function diagnosisCost(nodes: number, peers: number | undefined, what: string): Promise<BenchRow[]> {
  const matrix = new SimMatrix({ nodes, peers, noise: 0.001 }, new Random(1));
  const diagnoser = new Diagnoser();
  let nowMs = 0;
  const look = (): number => {
    nowMs += 1000;
    return cpuMs(() => diagnoser.diagnose(matrix, () => [], { nowMs, wallMs: nowMs }));
  };
  const figures = await interleave(
    [
      {
        name: 'changed',
        run: () => {
          matrix.draw([{ kind: 'node', node: 5, rate: 1 }]);
          return look();
        },
      },
      { name: 'same', run: look },
    ],
    ROUNDS * 2,
  );
  return [
    { what: `${what}, all rows changed`, value: median(figures.get('changed') ?? []), unit: 'ms' },
    { what: `${what}, no row changed`, value: median(figures.get('same') ?? []), unit: 'ms' },
  ];
}

/** Clusters with 1 to 5 faults at once, every second one in zones. @param peers that each node observes; undefined: all */
function accuracy(nodes: number, peers: number | undefined, trials: number): BenchRow[] {
  let [right, wrong, missed] = [0, 0, 0];
  for (let seed = 1; seed <= trials; seed++) {
    const random = new Random(10_000 + seed);
    const zones = seed % 2 === 0 ? ZONES : undefined;
    const matrix = new SimMatrix({ nodes, peers, zones, noise: 0.01 }, random);
    const faults = drawFaults(matrix, zones, random);
    const want = new Set(faults.map((fault) => matrix.placeOf(fault)));
    const diagnoser = new Diagnoser();
    let got = new Set<string>();
    for (const ms of [0, 2000]) {
      matrix.draw(faults);
      const { verdicts } = diagnoser.diagnose(matrix, () => [], { nowMs: ms, wallMs: ms });
      got = new Set(verdicts.map(({ place }) => placeText(place)));
    }
    const hits = [...got].filter((place) => want.has(place)).length;
    right += hits;
    wrong += got.size - hits;
    missed += want.size - hits;
  }
  const observed = peers === undefined ? `${nodes} x ${nodes}` : `${nodes} nodes, ${peers} observers each`;
  const what = `of ${right + missed} faults, 1 to 5 at once, 1 % noise, ${observed}`;
  return [
    { what: `precision ${what}`, value: right / (right + wrong), unit: '', aim: '>= 0.99' },
    { what: `recall ${what}`, value: right / (right + missed), unit: '', aim: '>= 0.99' },
  ];
}

const cost = async (): Promise<BenchRow[]> => [
  ...(await peelCost(1000, '<= 10')),
  ...(await peelCost(5000, '<= 100')),
  ...(await diagnosisCost(1000, undefined, 'diagnosis of a mesh of 1000')),
  ...(await diagnosisCost(5000, 20, 'diagnosis of 5000 with 20 observers')),
];
if (!process.argv.includes('accuracy')) report('Finding the places of faults (processor time)', await cost());
report('Places that were found', [
  ...accuracy(300, 20, 200),
  ...accuracy(1000, 20, 60),
  ...accuracy(1000, undefined, 30),
]);
