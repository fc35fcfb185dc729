/**
 * How fast rows go from node to node, and what that costs, on a simulated network (1 to 5 ms a message, one of a hundred
 * lost). Arguments: numbers of nodes, by default 64 and 256; 1,000 take minutes and a gigabyte.
 */
import { MeshSimulation } from '../test/health/mesh/mesh-simulation.ts';
import { Random } from '../test/support/random.ts';
import { type BenchRow, report } from './support/measure.ts';

const WATCHED = 8;
const DEATHS = 5;
const QUIET_MS = 20_000;

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

const sizes = process.argv
  .slice(2)
  .filter((word) => !word.startsWith('-'))
  .map(Number);
for (const nodes of sizes.length > 0 ? sizes : [64, 256]) {
  report('Rows between health agents', await measure(nodes));
}
