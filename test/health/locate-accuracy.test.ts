import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import type { HealthVerdict } from '../../src/model/health.ts';
import { Random } from '../support/random.ts';
import { drawFaults, type Fault, placeText, SimMatrix, type SimOptions } from './locate-sim.ts';

/** Clusters with faults that are drawn for each kind of cluster; the nightly suite asks for more. */
const TRIALS = Number(process.env.CILIATE_HEALTH_CLUSTERS ?? 12);
/** Rounds without a fault, each of a cluster's whole matrix; the nightly suite asks for a million. */
const ROUNDS = Number(process.env.CILIATE_HEALTH_ROUNDS ?? 2000);

/** What is told of a cluster that stays as it is: two looks, two seconds apart. */
function told(matrix: SimMatrix, faults: readonly Fault[]): readonly HealthVerdict[] {
  const diagnoser = new Diagnoser();
  let verdicts: readonly HealthVerdict[] = [];
  for (const ms of [0, 2000]) {
    matrix.draw(faults);
    ({ verdicts } = diagnoser.diagnose(matrix, () => [], { nowMs: ms, wallMs: ms }));
  }
  return verdicts;
}

function difference(a: ReadonlySet<string>, b: ReadonlySet<string>): string[] {
  return [...a].filter((one) => !b.has(one));
}

const CLUSTERS: readonly (readonly [string, SimOptions])[] = [
  ['twenty observers a node', { nodes: 300, peers: 20, noise: 0.01 }],
  ['twenty observers a node, in zones', { nodes: 300, peers: 20, zones: 4, noise: 0.01 }],
  ['a full mesh', { nodes: 60, noise: 0.01 }],
  ['a full mesh, in zones', { nodes: 60, zones: 3, noise: 0.01 }],
];

describe('places found in the rows of a cluster with 1 % of loss by chance', () => {
  for (const [name, options] of CLUSTERS) {
    it(`are those of 1 to 5 faults, no more and next to no less, with ${name}`, () => {
      let [right, wrong, missed] = [0, 0, 0];
      const failures: string[] = [];
      for (let seed = 1; seed <= TRIALS; seed++) {
        const random = new Random(seed);
        const matrix = new SimMatrix(options, random);
        const faults = drawFaults(matrix, options.zones, random);
        const want = new Set(faults.map((fault) => matrix.placeOf(fault)));
        const got = new Set(told(matrix, faults).map(({ place }) => placeText(place)));
        const [extra, missing] = [difference(got, want), difference(want, got)];
        wrong += extra.length;
        missed += missing.length;
        right += want.size - missing.length;
        if (extra.length + missing.length > 0)
          failures.push(`seed ${seed}: not ${extra.join(', ')}; but ${missing.join(', ')}`);
      }
      assert.ok(right / (right + wrong) >= 0.99, failures.join('\n'));
      assert.ok(right / (right + missed) >= 0.99, failures.join('\n'));
    });
  }

  it('are none, round after round, where nothing is broken, nor where less is lost by chance', () => {
    const random = new Random(7);
    const sizes: readonly SimOptions[] = [
      { nodes: 2, noise: 0.01 },
      { nodes: 5, noise: 0.01 },
      { nodes: 12, zones: 3, noise: 0.01 },
      { nodes: 20, noise: 0.0005 },
      { nodes: 40, peers: 8, zones: 2, noise: 0.01 },
    ];
    const clusters = sizes.map((options) => ({
      matrix: new SimMatrix(options, random),
      diagnoser: new Diagnoser(),
    }));
    for (let round = 0; round < ROUNDS; round++) {
      const { matrix, diagnoser } = random.pick(clusters);
      matrix.draw([]);
      const at = { nowMs: round * 1000, wallMs: round * 1000 };
      const { verdicts } = diagnoser.diagnose(matrix, () => [], at);
      assert.deepEqual(verdicts, [], `round ${round}`);
    }
  });
});

describe('0.1 % of silent loss at one node of 1,000', () => {
  /** A mesh of 1,000 nodes has 999,000 paths; those to and from one node are 1,998 probes a second. */
  const NODES = 1000;
  const ONE_IN = 1000;
  const SEEDS = Math.min(24, Math.ceil(TRIALS / 4));
  const LOOKED_MS = 25_000;
  const AIM_MS = 15_000;
  /** A probe is lost a second after it was sent; counts are read once a second; then the loss comes to all nodes. */
  const LOST_MS = 1000;
  const READ_MS = 1000;
  const SPREAD_MS = 500;

  interface Loss {
    readonly from: number;
    readonly to: number;
    readonly knownMs: number;
  }

  function drawLosses(bad: number, random: Random): Loss[] {
    const losses: Loss[] = [];
    for (let ms = 0; ms < LOOKED_MS; ms += 1000) {
      for (let other = 0; other < NODES; other++) {
        for (const [from, to] of [
          [bad, other],
          [other, bad],
        ] as const) {
          if (from === to || !random.oneIn(ONE_IN)) continue;
          const knownMs = ms + random.below(1000) + LOST_MS + random.below(READ_MS) + SPREAD_MS;
          losses.push({ from, to, knownMs });
        }
      }
    }
    return losses.sort((a, b) => a.knownMs - b.knownMs);
  }

  /** When it is named, from its beginning; undefined: not while it was looked at. */
  function namedMs(seed: number): number | undefined {
    const random = new Random(seed);
    const bad = 1 + random.below(NODES - 1);
    const matrix = new SimMatrix({ nodes: NODES, noise: 0, sent: 30 }, random);
    const losses = drawLosses(bad, random);
    const diagnoser = new Diagnoser();
    matrix.draw([]);
    for (let nowMs = random.below(1000); nowMs < LOOKED_MS; nowMs += 1000) {
      while ((losses[0]?.knownMs ?? LOOKED_MS) <= nowMs) matrix.addLoss(losses.shift());
      const { verdicts } = diagnoser.diagnose(matrix, () => [], { nowMs, wallMs: nowMs });
      const texts = verdicts.map(({ fault, place }) => `${fault} ${placeText(place)}`);
      if (texts.length === 0) continue;
      assert.deepEqual(texts, [`loss node ${matrix.nodes[bad]?.name}`], `seed ${seed} after ${nowMs} ms`);
      return nowMs;
    }
    return undefined;
  }

  it('is named within 15 s, and no other node is', (t) => {
    const times = Array.from({ length: SEEDS }, (_, i) => namedMs(i + 1) ?? Number.POSITIVE_INFINITY);
    t.diagnostic(`after ${times.map((ms) => (ms / 1000).toFixed(1)).join(', ')} s`);
    assert.ok(
      times.every((ms) => ms <= AIM_MS),
      times.join(', '),
    );
  });
});
