import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { healthStatus } from '../../src/view/health.ts';
import { diagnoseText } from '../../src/view/health-diagnose.ts';
import { cellStateOf, HealthGrid } from '../../src/view/health-grid.ts';
import { allAnswered, historyText, mtuText, probeText, readyText } from '../../src/view/health-lists.ts';
import { matrixText } from '../../src/view/health-matrix.ts';
import { matrixNodeText } from '../../src/view/health-matrix-node.ts';
import { allWell, pathText } from '../../src/view/health-path.ts';
import type { MatrixMetric } from '../../src/view/health-rank.ts';
import { shortMs, shortPercent, timeText } from '../../src/view/health-words.ts';
import { healthAnswer } from './golden.ts';
import {
  broken,
  history,
  manyNodes,
  matrixOf,
  mtu,
  NOW_MS,
  pair,
  probed,
  sixNodes,
  word,
} from './health-answers.ts';

/** Kept in test/golden; `UPDATE_GOLDEN=1 node --test test/view/health-layout.test.ts` rewrites them. */
const FOLDER = join(import.meta.dirname, '..', 'golden');
const now = { nowMs: NOW_MS };

const grid = (metric: MatrixMetric, width = 80) => ({ metric, width, colour: false });

const CASES: Readonly<Record<string, () => string>> = {
  'health-matrix-state.txt': () => matrixText(sixNodes, grid('state')),
  'health-matrix-rtt.txt': () => matrixText(sixNodes, grid('rtt')),
  'health-matrix-loss.txt': () => matrixText(sixNodes, grid('loss')),
  'health-matrix-many.txt': () => matrixText(manyNodes, grid('state')),
  'health-matrix-many-rtt.txt': () => matrixText(manyNodes, grid('rtt')),
  'health-matrix-node.txt': () => matrixNodeText(sixNodes, 'n2'),
  'health-path.txt': () => pathText(pair, now),
  'health-path-row.txt': () => {
    const cell = { state: 'degraded', 'rtt-ns': 1_310_000, sent: 120, lost: 14, 'age-ms': 12_000 } as const;
    return pathText(
      { from: 'n2', to: 'n3', source: 'row', reason: 'connection refused', paths: [], cell },
      now,
    );
  },
  'health-diagnose.txt': () => diagnoseText(broken, now),
  'health-diagnose-one.txt': () =>
    diagnoseText({ ...broken, verdicts: (broken.verdicts ?? []).slice(0, 1), silent: null }, now),
  'health-diagnose-healthy.txt': () =>
    diagnoseText({ ...broken, state: 'healthy', verdicts: null, silent: null }, now),
  'health-history.txt': () => historyText(history),
  'health-mtu.txt': () => mtuText(mtu),
  'health-probe.txt': () => probeText(probed),
  'health-path-40.txt': () => pathText(pair, { ...now, width: 40 }),
  'health-mtu-40.txt': () => mtuText(mtu, { width: 40 }),
  'health-history-40.txt': () => historyText(history, { width: 40 }),
  'health-matrix-node-40.txt': () => matrixNodeText(sixNodes, 'n2', { width: 40 }),
  'health-matrix-many-rtt-40.txt': () => matrixText(manyNodes, grid('rtt', 40)),
  'health-status-40.txt': () => healthStatus(healthAnswer('/v1beta/status'), { width: 40 }),
  'health-ready.txt': () =>
    readyText({ node: 'n4', ready: false, reasons: ['n4 is not reached by n1, n2'], at: '' }),
};

describe('layouts of the health commands', () => {
  for (const [name, render] of Object.entries(CASES)) {
    it(`print ${name} as it was agreed on, without blanks at the ends of lines`, () => {
      const file = join(FOLDER, name);
      const text = render();
      if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text);
      assert.ok(existsSync(file), `${file} is missing: run with UPDATE_GOLDEN=1`);
      assert.equal(text, readFileSync(file, 'utf8'));
      assert.doesNotMatch(text, / $/m);
    });
  }
});

describe('layouts of the health commands on a narrow terminal', () => {
  const LAYOUTS: Readonly<Record<string, (width: number) => string>> = {
    path: (width) => pathText(pair, { ...now, width }),
    mtu: (width) => mtuText(mtu, { width }),
    history: (width) => historyText(history, { width }),
    probe: (width) => probeText(probed, { width }),
    diagnose: (width) => diagnoseText(broken, { ...now, width }),
    status: (width) => healthStatus(healthAnswer('/v1beta/status'), { width }),
    'status --verbose': (width) => healthStatus(healthAnswer('/v1beta/status'), { width, verbose: true }),
    'matrix --node': (width) => matrixNodeText(sixNodes, 'n2', { width }),
  };

  for (const [name, render] of Object.entries(LAYOUTS)) {
    it(`${name} stays within the width, and says every word that it says on a wide one, in that order`, () => {
      const words = (text: string): string[] =>
        text.split(/\s+/).filter((word) => word !== '' && word !== '-');
      for (let width = 32; width < 80; width++) {
        const text = render(width);
        const widest = Math.max(...text.split('\n').map((line) => [...line].length));
        assert.ok(widest <= width, `${widest} of ${width}:\n${text}`);
        assert.deepEqual(words(text), words(render(400)), `at ${width}`);
      }
    });

    it(`${name} is the same at 80 columns as on the widest terminal`, () => {
      assert.equal(render(80), render(400));
    });
  }

  it('breaks between what belongs together: a sign and its meaning, a label and its text', () => {
    for (const width of [40, 60]) {
      const matrix = matrixText(sixNodes, grid('state', width));
      for (const item of ['. reachable', 'd degraded', 'X unreachable', '? unknown', 'blank: not probed'])
        assert.ok(matrix.includes(item), `${item} at ${width}:\n${matrix}`);
      const diagnosis = diagnoseText(broken, { ...now, width });
      assert.match(diagnosis, /^ {3}next: {5}\S/m);
      assert.match(diagnosis, /^ {3}known: {4}\S/m);
    }
  });

  it('shortens in the middle what no line has room for, and shows what has no value', () => {
    const path = { peer: `node-${'x'.repeat(60)}-end`, address: 'fd00:1111:2222:3333:4444:5555:6666:7777' };
    const text = mtuText(
      { ...mtu, paths: (mtu.paths ?? []).slice(0, 1).map((one) => ({ ...one, ...path })) },
      { width: 30 },
    );
    assert.match(text, /^node-x+…x+-end$/m);
    assert.match(text, /^ {4}fd00:1111:222…55:6666:7777$/m);
    assert.ok(Math.max(...text.split('\n').map((line) => [...line].length)) <= 30, text);
    assert.match(
      historyText(
        { ...history, changes: (history.changes ?? []).slice(0, 1).map((one) => ({ ...one, address: '' })) },
        { width: 40 },
      ),
      / {2}-\n/,
    );
  });
});

describe('health matrix', () => {
  it('stays within the width, whatever it is and however many nodes there are', () => {
    for (const matrix of [sixNodes, manyNodes]) {
      for (const metric of ['state', 'rtt', 'loss'] as const) {
        for (const width of [24, 40, 59, 60, 80, 132, 400]) {
          const widest = Math.max(
            ...matrixText(matrix, grid(metric, width))
              .split('\n')
              .map((line) => [...line].length),
          );
          assert.ok(widest <= width, `${metric} at ${width}: ${widest}`);
        }
      }
    }
  });

  it('shows the worst node first by each metric', () => {
    const first = (metric: MatrixMetric): string | undefined => {
      const lines = matrixText(manyNodes, grid(metric)).split('\n');
      return /^ *1 (\S+)/.exec(lines.find((line) => /^ *1 /.test(line)) ?? '')?.[1];
    };
    assert.match(first('state') ?? '', /^node-007/);
    assert.match(first('loss') ?? '', /^node-007/);
    assert.match(first('rtt') ?? '', /^node-007/);
    for (const metric of ['state', 'rtt'] as const) {
      const second = matrixText(manyNodes, grid(metric))
        .split('\n')
        .find((line) => /^ *2 /.test(line));
      assert.match(second ?? '', /node-123/, 'not one of those that watch node-007');
    }
  });

  it('colours cells on a terminal only, and nothing but cells', () => {
    const plain = matrixText(sixNodes, grid('rtt'));
    assert.ok(!plain.includes('\x1b'));
    const coloured = matrixText(sixNodes, { ...grid('rtt'), colour: true });
    assert.ok(coloured.includes('\x1b[48;5;160'));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is taken away
    const uncoloured = coloured.replace(/\x1b\[[\d;]*m/g, '').replace(/ +$/gm, '');
    assert.equal(uncoloured, plain);
  });

  it('lets no name of a node command the terminal', () => {
    const matrix = matrixOf(['n1', '\x1b[2Jx\ny'], () => [word(3, 3), 0, 5, 5]);
    for (const text of [matrixText(matrix, grid('state')), matrixNodeText(matrix, 'n1')]) {
      assert.ok(!text.includes('\x1b'), JSON.stringify(text));
      assert.match(text, /\\x1b\[2Jx\\ny/);
    }
  });

  it('prints what there is of a matrix without rows, or without nodes', () => {
    const none = matrixText(
      matrixOf([], () => undefined),
      grid('state'),
    );
    assert.match(none, /^0 nodes, 0 pairs probed\n/);
    const alone = matrixText(
      matrixOf(['n1'], () => undefined),
      grid('state'),
    );
    assert.match(alone, /^1 n1 +0\/0 +0\/0 \\$/m);
  });

  it('calls a pair unreachable when nothing answers, degraded when something does not', () => {
    const answers = [true, true, false];
    const states = (icmp: number, http: number, canary: number) =>
      cellStateOf([icmp | (http << 2) | (canary << 4)], answers);
    assert.equal(states(3, 3, 1), 'unreachable', 'a silent canary is no answer');
    assert.equal(states(3, 1, 0), 'degraded');
    assert.equal(states(1, 1, 3), 'degraded', 'a canary that answers is a fault');
    assert.equal(states(1, 2, 0), 'degraded');
    assert.equal(states(1, 0, 1), 'reachable');
    assert.equal(states(0, 0, 1), 'unknown');
    assert.equal(states(3, 0, 0), 'unreachable');
  });

  it('leaves out a round trip of a pair that is unreachable, and loss where nothing was sent', () => {
    const cells = new HealthGrid(
      matrixOf(['a', 'b'], (from) => (from === 0 ? [word(3, 3), 99, 5, 5] : [0, 0, 0, 0])),
    );
    assert.equal(cells.cell(0, 1)?.rttNs, undefined);
    assert.equal(cells.cell(1, 0)?.lossShare, undefined);
  });
});

describe('figures of the health commands', () => {
  it('are as wide as their columns and never round loss away', () => {
    const times = [
      500, 5000, 34_000, 999_400, 999_600, 1_234_000, 9_994_000, 9_996_000, 99_960_000, 1_500_000_000,
    ];
    assert.deepEqual(times.map(shortMs), [
      '.001',
      '.005',
      '.034',
      '.999',
      '1.00',
      '1.23',
      '9.99',
      '10.0',
      '100',
      '1500',
    ]);
    const shares = [0, 0.0001, 0.004, 0.0095, 0.02, 0.37, 0.996, 1];
    assert.deepEqual(shares.map(shortPercent), ['0', '<.1', '.4', '1', '2', '37', '99', '100']);
    const spans = [120, 1500, 24_000, 999_600, 1_240_000, 12_340_000, 2_500_000_000];
    assert.deepEqual(spans.map(timeText), ['120ns', '1.5µs', '24µs', '1ms', '1.24ms', '12.3ms', '2.5s']);
  });
});

describe('what decides the exit', () => {
  it('is well when every path is, a silent canary among them, and not without any path', () => {
    const paths = (pair.paths ?? []).filter(
      ({ state, 'black-hole': hole }) => state === 'reachable' && !hole,
    );
    assert.equal(allWell({ ...pair, paths }), true);
    assert.equal(allWell(pair), false);
    assert.equal(allWell({ ...pair, paths: [] }), false);
  });

  it('is a finding when a path was not answered, or a canary was', () => {
    const [icmp, , canary] = probed.paths ?? [];
    assert.ok(icmp && canary);
    const report = { ...probed, 'without-path': [] };
    assert.match(probeText({ ...report, paths: [] }), /^No other node is in the node list/);
    assert.equal(allAnswered({ ...report, paths: [icmp, canary] }), true);
    assert.equal(allAnswered({ ...report, paths: [{ ...icmp, answered: 0 }] }), false);
    assert.equal(allAnswered({ ...report, paths: [{ ...canary, answered: 1 }] }), false);
    assert.equal(allAnswered({ ...probed, paths: [icmp] }), false, 'a node without a path');
    assert.equal(allAnswered({ ...report, paths: [] }), false);
  });
});
