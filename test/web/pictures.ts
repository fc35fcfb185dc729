/**
 * `npm run pictures`: makes the pictures of the dashboard in docs/, from a mesh of nodes in network namespaces whose health
 * agents probe each other, in a real Chromium at one of them. Two faults are made and waited for: some of what is sent to
 * one node is lost, and another one's device is down. Needs root and Chromium; takes some four minutes.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { packageRoot } from '../../src/base/assets.ts';
import { Chromium, type Page } from '../support/chromium.ts';
import { HealthMesh } from '../support/health-mesh.ts';
import { eventually } from '../support/process.ts';

const NODES = 16;
const PORT = 9964;
const URL = `http://127.0.0.1:${PORT}/`;
const OBSERVER = 'n1';
const LOSSY = 'n6';
const LOST_SHARE = 0.2;
const DOWN = 'n11';
/** Sixteen agents start at once. */
const START_MS = 180_000;
/** A minute of health before it, so that the hour of a path begins well. */
const WELL_MS = 75_000;
/** And so long with both faults, until they fill the last minute. */
const ILL_MS = 75_000;
const FRAME = 'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))';

async function hasVerdicts(mesh: HealthMesh): Promise<true | undefined> {
  const { verdicts } = await mesh.node(OBSERVER).client.diagnosis();
  const texts = (verdicts ?? []).map(({ what }) => what);
  const about = (name: string): boolean =>
    texts.some((text) => new RegExp(`\\bnode ${name}\\b`, 'i').test(text));
  return (about(LOSSY) && about(DOWN)) || undefined;
}

async function breakNodes(mesh: HealthMesh): Promise<void> {
  await mesh.setLoss(LOSSY, LOST_SHARE);
  await mesh.lab.ip('-n', mesh.node(DOWN).netns, 'link', 'set', 'eth0', 'down');
  await delay(ILL_MS);
  await eventually('both faults are named', () => hasVerdicts(mesh), { timeoutMs: 120_000, everyMs: 1000 });
}

async function open(page: Page): Promise<void> {
  await page.call('Emulation.setScrollbarsHidden', { hidden: true });
  await page.goTo(URL);
  await page.until("'painted' in document.documentElement.dataset");
  await page.until("document.querySelectorAll('#verdicts li').length > 1");
  await page.until("document.querySelectorAll('#worst-pairs tbody tr').length > 3");
  await page.evaluate(
    "document.getElementById('order').value = 'zone'; document.getElementById('order').dispatchEvent(new Event('change'))",
  );
  await page.evaluate(FRAME);
}

async function openPair(page: Page): Promise<void> {
  await page.evaluate(
    `for (const [id, name] of [['pair-from', '${OBSERVER}'], ['pair-to', '${LOSSY}']]) document.getElementById(id).value = name; document.querySelector('#pair-form button').click()`,
  );
  await page.until("document.querySelector('#pair svg') !== null");
  await page.evaluate('document.activeElement.blur()');
  await page.evaluate(FRAME);
}

function write(name: string, png: Buffer): void {
  writeFileSync(join(packageRoot(), 'docs', name), png);
  console.log(`docs/${name}: ${Math.round(png.length / 1024)} KiB`);
}

async function takePictures(chromium: Chromium): Promise<void> {
  const wide = await chromium.page({ width: 1180, height: 900 });
  for (const scheme of ['light', 'dark'] as const) {
    await wide.colours(scheme, 'reduce');
    await open(wide);
    write(`dashboard-${scheme}.png`, await wide.screenshot());
  }
  await wide.colours('light', 'reduce');
  await wide.size(1500, 900);
  await open(wide);
  await openPair(wide);
  write('dashboard-pair.png', await wide.screenshotOf('section:has(> #pair)'));
  const narrow = await chromium.page({ width: 390, height: 1600 });
  await narrow.colours('light', 'reduce');
  await open(narrow);
  write('dashboard-390.png', await narrow.screenshot());
}

const mesh = await HealthMesh.start({
  nodes: NODES,
  zones: Array.from({ length: NODES }, (_, i) => `zone-${'abc'[i % 3]}`),
  words: ['--dashboard-addr', `127.0.0.1:${PORT}`],
});
try {
  await mesh.measured(START_MS);
  await delay(WELL_MS);
  await breakNodes(mesh);
  const chromium = await Chromium.start(mesh.node(OBSERVER).netns);
  try {
    await takePictures(chromium);
  } finally {
    await chromium.stop();
  }
} finally {
  await mesh.stop();
}
