/**
 * How fast rows go from node to node, and what that costs, on a simulated network (1 to 5 ms a message, one of a hundred
 * lost). Arguments: numbers of nodes, by default 64 and 256; 1,000 take minutes and a gigabyte. With `--deaths`: how soon
 * whole health agents say that a node is down, by default of 12, 24, 48 and 96 nodes; 1,000 take minutes and 5 GB.
 */
import { DeathCluster, type DeathTold } from '../test/health/death-cluster.ts';
import { MeshSimulation } from '../test/health/mesh/mesh-simulation.ts';
import { Random } from '../test/support/random.ts';
import { type BenchRow, median, report } from './support/measure.ts';

const WATCHED = 8;
const DEATHS = 5;
const QUIET_MS = 20_000;
/** Deaths that are timed at each size, one in so many nodes of a cluster at most, one after the other. */
const DEATHS_TOLD = 12;
const NODES_A_DEATH = 12;
/** In larger clusters agents have room for paths to the nodes that die only, which are fewer, and few are asked what they say. */
const WHOLE_MOST = 96;
const DEATHS_OF_LARGE = 3;
const LOOKERS = 10;
const APART_MS = 3000;
const STEPS = 2 ** 30;

/** From the first who notices a death until every living node has its word, ms. */
async function untilKnown(sim: MeshSimulation, name: string): Promise<number> {
  await sim.kill(name);
  const [watcher] = sim.watchersOf(name);
  if (watcher === undefined) return 0;
  sim.notice(watcher, name);
  let rest = sim.living;
  return sim.until('known', () => {
    rest = rest.filter((node) => !sim.knows(node, watcher.name, name));
    return rest.length === 0;
  });
}

async function measure(nodes: number): Promise<BenchRow[]> {
  const sim = new MeshSimulation({ nodes, watched: WATCHED, random: new Random(1), lossOneIn: 100 });
  const whole = (): boolean => sim.informed() === sim.living.length;
  const cold = await sim.until('all rows', whole, 1000);
  const bytes = await sim.bytesASecond(QUIET_MS);
  const known: number[] = [];
  for (let i = 0; i < DEATHS; i++) known.push(await untilKnown(sim, `n${i}`));
  const [{ watched = [] } = {}] = sim.nodes;
  sim.revive('n0');
  const back = await sim.until(
    'n0 is back',
    () => {
      return (
        sim.living.every(({ mesh }) => mesh.matrix().row('n0')?.cells.size === watched.length) && whole()
      );
    },
    1000,
  );
  await sim.stop();
  return [
    { what: `${nodes} nodes: all rows at all of them, from nothing`, value: cold / 1000, unit: 's' },
    {
      what: 'a death, from the first who notices to all, the slowest of 5',
      value: Math.max(...known),
      unit: 'ms',
      aim: '<= 300',
    },
    { what: 'a restarted node has all rows, and all its new one', value: back / 1000, unit: 's' },
    { what: 'sent and received together, a node, in quiet', value: bytes / 1000, unit: 'kB/s' },
  ];
}

/** What one cluster says of its deaths. */
async function deathsOf(nodes: number, seed: number, count: number): Promise<DeathTold[]> {
  const draws = new Random(seed);
  const random = (): number => draws.below(STEPS) / STEPS;
  const victims = Array.from({ length: count }, (_, i) => `n${i + 1}`);
  const opens = (_self: string, peer: string): boolean => victims.includes(peer);
  const cluster = new DeathCluster({ nodes, random, ...(nodes > WHOLE_MOST ? { opens } : {}) });
  const lookers = cluster.names.filter((_, i) => nodes <= WHOLE_MOST || i % Math.ceil(nodes / LOOKERS) === 0);
  await cluster.start();
  await cluster.clock.pass(QUIET_MS);
  const told: DeathTold[] = [];
  for (const victim of victims) {
    await cluster.clock.pass(APART_MS + 1000 * random());
    told.push(await cluster.kill(victim, lookers));
  }
  await cluster.stop();
  return told;
}

async function measureDeaths(nodes: number): Promise<BenchRow[]> {
  const told: DeathTold[] = [];
  const deaths = nodes > WHOLE_MOST ? DEATHS_OF_LARGE : DEATHS_TOLD;
  for (let seed = 1; told.length < deaths; seed++) {
    const count = Math.min(deaths - told.length, Math.floor(nodes / NODES_A_DEATH));
    told.push(...(await deathsOf(nodes, seed, count)));
  }
  const besides = new Set(told.flatMap((one) => one.besides));
  if (besides.size > 0) console.log(`said besides of ${nodes} nodes:`, [...besides].join(', '));
  const rowsOf = (what: string, values: readonly number[], aim: string): BenchRow[] => [
    { what: `${nodes} nodes: ${what}, median of ${values.length}`, value: median(values), unit: 'ms', aim },
    { what: `${nodes} nodes: ${what}, the slowest`, value: Math.max(...values), unit: 'ms', aim },
  ];
  const first = told.map(({ firstMs }) => firstMs);
  const spread = told.map(({ firstMs, lastMs }) => lastMs - firstMs);
  return [
    ...rowsOf('from a death to the first that says it', first, '<= 1200'),
    ...rowsOf('from the first to all', spread, '<= 300'),
  ];
}

const isOfDeaths = process.argv.includes('--deaths');
const sizes = process.argv
  .slice(2)
  .filter((word) => !word.startsWith('-'))
  .map(Number);
const usual = isOfDeaths ? [12, 24, 48, 96] : [64, 256];
for (const nodes of sizes.length > 0 ? sizes : usual) {
  if (isOfDeaths) report('A node is down, by the word of health agents', await measureDeaths(nodes));
  else report('Rows between health agents', await measure(nodes));
}
