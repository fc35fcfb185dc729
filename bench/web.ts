import { Chromium } from '../test/support/chromium.ts';
import { BAD, DashboardRig, GOOD, nodeNames } from '../test/web/dashboard-rig.ts';
import { type BenchRow, interleave, median, report } from './support/measure.ts';

/**
 * The dashboard in a real Chromium: from the start of the navigation to the first picture of the whole matrix, and from the
 * arrival of changed rows to the end of the next picture. 500 nodes beside 2, load by load, so that what the page costs
 * anyhow is told apart from what 250,000 cells cost.
 */
const ROUNDS = 9;
const UPDATES = 24;
const NODES = 500;
/** Of each update: rows, and cells of each that change their state. */
const ROWS = 64;
const CELLS = 100;

const PAINTED = "'painted' in document.documentElement.dataset";

async function firstPaintMs(chromium: Chromium, rig: DashboardRig): Promise<number> {
  const page = await chromium.page();
  try {
    await page.goTo(rig.url);
    await page.until(PAINTED);
    return await page.evaluate<number>("performance.getEntriesByName('matrix-painted')[0].startTime");
  } finally {
    await page.close();
  }
}

/** From each arrival of rows to the end of the picture after it. */
const UPDATE_TIMES = `(() => {
  const draws = performance.getEntriesByName('draw').map((draw) => draw.startTime + draw.duration);
  return performance.getEntriesByName('rows').flatMap(({ startTime }) => {
    const end = draws.find((time) => time > startTime);
    return end === undefined ? [] : [end - startTime];
  });
})()`;

function changeRows(rig: DashboardRig, round: number): void {
  for (let i = 0; i < ROWS; i++) {
    const from = (round * ROWS + i) % NODES;
    for (let k = 0; k < CELLS; k++) {
      const to = (k * 5 + round) % NODES;
      if (to !== from) rig.set(from, to, round % 2 === 0 ? BAD : GOOD);
    }
  }
}

async function updates(chromium: Chromium, rig: DashboardRig): Promise<readonly number[]> {
  const page = await chromium.page();
  try {
    await page.goTo(rig.url);
    await page.until(PAINTED);
    await page.until("document.getElementById('live').dataset.state === 'live'");
    for (let round = 0; round < UPDATES; round++) {
      changeRows(rig, round);
      await page.until(`performance.getEntriesByName('rows').length > ${round}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    return await page.evaluate<number[]>(UPDATE_TIMES);
  } finally {
    await page.close();
  }
}

async function measure(chromium: Chromium): Promise<void> {
  const large = new DashboardRig(nodeNames(NODES));
  const small = new DashboardRig(nodeNames(2));
  await Promise.all([large.start(), small.start()]);
  try {
    const paints = await interleave(
      [
        { name: 'large', run: () => firstPaintMs(chromium, large) },
        { name: 'small', run: () => firstPaintMs(chromium, small) },
      ],
      ROUNDS,
    );
    const times = await updates(chromium, large);
    const of = (name: string): number => median(paints.get(name) ?? []);
    const rows: BenchRow[] = [
      {
        what: `first picture, ${NODES} nodes (median of ${ROUNDS})`,
        value: of('large'),
        unit: 'ms',
        aim: '<= 1000',
      },
      { what: 'first picture, 2 nodes', value: of('small'), unit: 'ms' },
      { what: 'ratio', value: of('large') / of('small'), unit: 'x' },
      {
        what: `update of ${ROWS} rows, ${CELLS} cells each (median of ${times.length})`,
        value: median(times),
        unit: 'ms',
        aim: '<= 50',
      },
      { what: 'the slowest of them', value: Math.max(...times), unit: 'ms' },
    ];
    report('The dashboard in Chromium', rows);
  } finally {
    await Promise.all([large.stop(), small.stop()]);
  }
}

const chromium = await Chromium.start();
try {
  await measure(chromium);
} finally {
  await chromium.stop();
}
