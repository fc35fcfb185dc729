import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Chromium, CTRL, chromiumOrSkip, type Page } from '../support/chromium.ts';
import { BAD, DashboardRig, GOOD, nodeNames, PARTLY } from './dashboard-rig.ts';

const NASTY = '<img src=x onerror="globalThis.broken=1">';

const label =
  "document.getElementById(document.getElementById('grid').getAttribute('aria-activedescendant')).getAttribute('aria-label')";
const liveState = "document.getElementById('live').dataset.state";
const painted = "'painted' in document.documentElement.dataset";

/** All text with less contrast than AA asks for (4.5, large text 3), with its colours. */
const CONTRAST = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => rgb(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (rgb(colour)[3] === 255) return colour;
    }
    return 'white';
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (node.data.trim() === '' || element.checkVisibility() === false || element.closest('.hidden, .skip, option')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(style.fill !== 'rgb(0, 0, 0)' && element.closest('svg') ? style.fill : style.color), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.push(node.data.trim() + ' ' + ratio.toFixed(2));
  }
  return found;
})()`;

/** Words of the tables of a pair that stand on two lines. */
const BROKEN_WORDS = `(() => {
  const found = [];
  for (const table of document.querySelectorAll('#pair table')) {
    const walker = document.createTreeWalker(table.tBodies[0], NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode())
      for (const word of node.data.matchAll(/[\\w.]+/g)) {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(({ top }) => top)).size > 1) found.push(word[0]);
      }
  }
  return found;
})()`;

/** What of a cell in the middle is painted after each change of the map's size, as the frame is about to be shown. */
const RESIZED = `(async () => {
  const canvas = document.getElementById('heat');
  const alphas = [];
  // Observers are called in the order of their making: this one after the map's own.
  const seen = new Promise((done) => new ResizeObserver(() => {
    const [x, y] = [28 + 3.5 * 44, 28 + 1.2 * 44];
    alphas.push(canvas.getContext('2d').getImageData(x, y, 1, 1).data[3]);
    if (alphas.length === 6) done();
  }).observe(document.getElementById('grid')));
  for (let i = 1; i < 6; i++) {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    document.getElementById('grid').style.width = 500 - 20 * i + 'px';
  }
  await seen;
  return alphas;
})()`;

describe('the dashboard in a real browser', { skip: chromiumOrSkip() }, () => {
  let chromium: Chromium | undefined;
  const rigs: DashboardRig[] = [];
  const pages: Page[] = [];

  before(async () => {
    chromium = await Chromium.start();
  });

  after(async () => {
    await chromium?.stop();
  });

  afterEach(async () => {
    for (const page of pages.splice(0)) await page.close();
    for (const rig of rigs.splice(0)) await rig.stop();
  });

  async function open(
    rig: DashboardRig,
    size?: { readonly width: number; readonly height: number },
  ): Promise<Page> {
    rigs.push(rig);
    await rig.start();
    assert.ok(chromium !== undefined);
    const page = await chromium.page(size);
    pages.push(page);
    await page.goTo(rig.url);
    await page.until(painted);
    await page.until(`${liveState} === 'live'`);
    return page;
  }

  const colourAt = (page: Page, x: number, y: number): Promise<number[]> =>
    page.evaluate(
      `[...document.getElementById('heat').getContext('2d').getImageData(${x}, ${y}, 1, 1).data]`,
    );

  it('asks nobody but its own server, keeps to its policy, and names its files by their content', async () => {
    const rig = new DashboardRig(nodeNames(8), (from, to) => (from === 2 && to === 5 ? BAD : GOOD));
    const page = await open(rig);
    await page.until("document.querySelectorAll('#worst-pairs tbody tr').length > 0");
    assert.deepEqual(page.complaints, []);
    assert.ok(
      page.requests.every((url) => url.startsWith(rig.url)),
      page.requests.join('\n'),
    );
    const assets = page.requests.filter((url) => url.includes('/assets/'));
    assert.equal(assets.length, 2);
    for (const url of assets) assert.match(url, /-[0-9a-f]{16}\.(?:js|css)$/);
    assert.equal(
      page.requests.filter((url) => url.endsWith('/packed')).length,
      1,
      'the matrix is taken once',
    );
  });

  it('keeps scripts out that somebody got into the page, whatever way', async () => {
    const page = await open(new DashboardRig(nodeNames(3)));
    const refused = await page.evaluate<string>(
      `(() => { try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch (error) { return error.name; } })()`,
    );
    assert.equal(refused, 'TypeError', 'no text becomes markup');
    await page.evaluate(
      `try { document.body.setAttribute('onclick', 'globalThis.broken = 1'); } catch { /* refused */ } document.body.click()`,
    );
    assert.equal(await page.evaluate('globalThis.broken === undefined'), true);
  });

  it('shows names that look like markup as they are', async () => {
    const names = ['n1', NASTY, '</script><script>globalThis.broken=1</script>'];
    const rig = new DashboardRig(names, () => BAD);
    rig.zones = [NASTY, NASTY, 'z'];
    rig.diagnosis = {
      state: 'broken',
      atMs: Date.now(),
      silent: [{ node: NASTY, ageMs: 5000 }],
      verdicts: [
        {
          fault: 'node-down',
          place: { kind: 'pair', from: NASTY, to: 'n1' },
          kinds: [],
          families: [],
          lossPoint: { node: NASTY, hook: NASTY, leg: 'request', reason: NASTY },
          sinceMs: Date.now(),
          confidence: 0.9,
          evidence: { observers: 1, sent: 9, lost: 9, against: 0 },
        },
      ],
    };
    const page = await open(rig);
    await page.until(`document.getElementById('worst-nodes').textContent.includes('onerror')`);
    await page.until(`document.getElementById('verdicts').textContent.includes('onerror')`);
    assert.ok(
      await page.evaluate("document.querySelector('.verdict').textContent.length > 10"),
      'it says what is broken',
    );
    assert.ok(
      await page.evaluate("document.querySelectorAll('#verdicts .steps li').length > 0"),
      'and what next',
    );
    await page.press('Tab');
    assert.equal(await page.evaluate("document.querySelectorAll('main img, main script').length"), 0);
    assert.equal(await page.evaluate('globalThis.broken === undefined'), true);
    assert.deepEqual(page.complaints, []);
  });

  it('walks every cell by keys and names it, and opens a pair without a mouse', async () => {
    const rig = new DashboardRig(nodeNames(5), (from, to) => (from === 3 && to === 1 ? PARTLY : GOOD));
    const page = await open(rig);
    await page.evaluate(
      `document.getElementById('order').value = 'name'; document.getElementById('order').dispatchEvent(new Event('change'))`,
    );
    await page.evaluate(`document.getElementById('grid').focus()`);
    await page.press('Home', CTRL);
    const heard = new Set<string>();
    for (let row = 0; row < 5; row++) {
      await page.press('Home');
      for (let column = 0; column < 5; column++) {
        heard.add(await page.evaluate<string>(label));
        await page.press('ArrowRight');
      }
      await page.press('ArrowDown');
    }
    assert.equal(heard.size, 25, [...heard].join('\n'));
    assert.ok(heard.has('n2: itself'));
    const back: string[] = [];
    await page.press('End', CTRL);
    for (let row = 0; row < 5; row++) {
      for (let column = 0; column < 5; column++) {
        back.push(await page.evaluate<string>(label));
        await page.press('ArrowLeft');
      }
      await page.press('End');
      await page.press('ArrowUp');
    }
    assert.deepEqual(back, [...heard].reverse(), 'the same way back by ArrowLeft and ArrowUp');
    assert.ok(heard.has('n2 to n5: reachable, round trip 120 µs, 0 of 120 probes lost (0 %)'));
    await page.press('f');
    assert.match(
      await page.evaluate(label),
      /^n4 to n2: degraded, round trip 4\.20 ms, 31 of 120 probes lost \(26 %\)$/,
    );
    await page.press('Enter');
    await page.until("document.querySelector('#pair h3')?.textContent === 'n4 to n2'");
    assert.equal(await page.evaluate('document.activeElement.id'), 'pair-title');
    assert.deepEqual(page.complaints, []);
  });

  it('tells no round trip of a pair that is unreachable, though one of before is known', async () => {
    const page = await open(new DashboardRig(nodeNames(2), () => ({ ...BAD, rttNs: 18_000 })));
    await page.evaluate(`document.getElementById('grid').focus()`);
    await page.press('Home', CTRL);
    await page.press('ArrowRight');
    assert.equal(await page.evaluate(label), 'n1 to n2: unreachable, 120 of 120 probes lost (100 %)');
  });

  it('shows of a pair where the time goes, where probes were seen last, its MTU and its hour', async () => {
    const rig = new DashboardRig(nodeNames(3));
    const path = { peer: 'n2', family: 4, address: '10.0.0.2', primary: true } as const;
    const rttNs = { min: 90_000, p50: 120_000, p99: 310_000, max: 400_000 };
    const window = {
      spanMs: 60_000,
      sent: 60,
      answered: 57,
      late: 0,
      duplicate: 0,
      reordered: 0,
      rttNs,
      residenceNs: 20_000,
    };
    const common = { sinceMs: Date.now() - 60_000, lastProbedMs: Date.now(), lastAnsweredMs: Date.now() };
    const lossPoint = { node: 'n2', hook: NASTY, leg: 'answer', reason: 'Policy denied' } as const;
    rig.reports = [
      {
        ...common,
        path: { ...path, kind: 0 },
        state: 'degraded',
        reason: '5 % of probes lost',
        window,
        lossPoint,
        pathMtu: 1400,
        blackHole: true,
        phasesNs: undefined,
      },
      {
        ...common,
        path: { ...path, kind: 2 },
        state: 'reachable',
        reason: undefined,
        window: { ...window, residenceNs: undefined },
        lossPoint: undefined,
        pathMtu: undefined,
        blackHole: false,
        phasesNs: { network: 100_000, connect: 150_000, firstByte: 400_000, total: 420_000 },
      },
    ];
    const page = await open(rig);
    await page.evaluate(
      `for (const [id, name] of [['pair-from', 'n1'], ['pair-to', 'n2']]) document.getElementById(id).value = name; document.querySelector('#pair-form button').click()`,
    );
    await page.until("document.querySelectorAll('#pair tbody tr').length === 2");
    const text = await page.evaluate<string>("document.getElementById('pair').textContent");
    for (const part of [
      'network 100 µs, peer 20 µs',
      'network 100 µs, connecting 50 µs, server 250 µs, reading 20 µs',
      `the answer was last seen at ${NASTY} of n2: Policy denied`,
      '1400, black hole above',
      '5.0 %',
    ]) {
      assert.ok(text.includes(part), `${part}\n${text}`);
    }
    const broken = await page.evaluate<string[]>(BROKEN_WORDS);
    assert.deepEqual(broken, [], 'no word of the table is broken');
    await page.evaluate("document.querySelectorAll('#pair tbody button')[1].click()");
    await page.until(
      "/host-host\\/http/.test(document.querySelector('#pair svg')?.getAttribute('aria-label'))",
    );
    assert.deepEqual(page.complaints, []);
  });

  it('paints a change within a moment of its row, and nothing else', async () => {
    const rig = new DashboardRig(nodeNames(4));
    const page = await open(rig);
    await page.evaluate(
      `document.getElementById('order').value = 'name'; document.getElementById('order').dispatchEvent(new Event('change'))`,
    );
    const place = `(() => { const w = document.getElementById('heat').clientWidth; const c = 44, g = 28; return [g + 3.5 * c, g + 1.2 * c, g + 2.5 * c]; })()`;
    const [x = 0, y = 0, other = 0] = await page.evaluate<number[]>(place);
    const frame = 'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))';
    await page.evaluate(frame);
    const before = await colourAt(page, x, y);
    const still = await colourAt(page, x, other);
    assert.deepEqual([before[3], still[3]], [255, 255], 'both cells are painted');
    rig.set(1, 3, BAD);
    await page.until(`document.querySelector('#worst-pairs th button')?.textContent === 'n2 to n4'`);
    await page.evaluate(frame);
    assert.notDeepEqual(await colourAt(page, x, y), before);
    assert.deepEqual(await colourAt(page, x, other), still);
  });

  it('is never blank while its size changes', async () => {
    const page = await open(new DashboardRig(nodeNames(4)));
    const alphas = await page.evaluate<number[]>(RESIZED);
    assert.deepEqual(new Set(alphas), new Set([255]));
  });

  it('says that it is stale when the agent is gone, and takes everything anew when it is back', async () => {
    const rig = new DashboardRig(nodeNames(4));
    const page = await open(rig);
    await rig.stop();
    await page.until(`${liveState} === 'stale'`);
    assert.match(
      await page.evaluate("document.getElementById('live').textContent"),
      /^stale: nothing heard for \d+ s, since /,
    );
    rig.set(0, 2, BAD);
    await rig.start();
    await page.until(`${liveState} === 'live'`);
    await page.until("document.getElementById('worst-pairs').textContent.includes('n1 to n3')");
    assert.ok(page.requests.filter((url) => url.endsWith('/packed')).length >= 2);
  });

  it('takes a node that joins, and lets one go that leaves', async () => {
    const rig = new DashboardRig(nodeNames(4));
    const page = await open(rig);
    rig.names = ['n1', 'n2', 'n3'];
    await page.until("document.getElementById('grid').getAttribute('aria-rowcount') === '3'");
    assert.match(await page.evaluate("document.getElementById('self').textContent"), /3 nodes/);
  });

  it('holds 500 nodes, each cell within reach of keys, no fault lost in the small', async () => {
    const rig = new DashboardRig(nodeNames(500), (from, to) => (from === 499 && to === 498 ? BAD : GOOD));
    const page = await open(rig, { width: 390, height: 800 });
    await page.evaluate(
      `document.getElementById('order').value = 'name'; document.getElementById('order').dispatchEvent(new Event('change'))`,
    );
    await page.evaluate(`document.getElementById('grid').focus()`);
    await page.press('End', CTRL);
    assert.equal(await page.evaluate(label), 'n500: itself');
    await page.press('f');
    assert.match(await page.evaluate(label), /^n500 to n499: unreachable/);
    const red = await page.evaluate<number>(`(() => {
      const heat = document.getElementById('heat');
      const { data } = heat.getContext('2d').getImageData(0, 0, heat.width, heat.height);
      let red = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i] === 0xa3 && data[i + 1] === 0x0d) red++;
      return red;
    })()`);
    assert.ok(red >= 1, 'the one pair that fails is seen, at less than a pixel a cell');
  });

  it('does not scroll sideways at 390 pixels, with a pair open', async () => {
    const rig = new DashboardRig(
      nodeNames(30).map((name) => `${name}.a-rather-long-name.of.a.cluster.example.com`),
    );
    const page = await open(rig, { width: 390, height: 800 });
    await page.evaluate(`document.getElementById('grid').focus()`);
    await page.press('ArrowRight');
    await page.press('Enter');
    await page.until("document.querySelector('#pair h3') !== null");
    const sizes = await page.evaluate<number[]>(
      `[document.documentElement.scrollWidth, ...[...document.querySelectorAll('main > section')].map((e) => Math.ceil(e.getBoundingClientRect().right))]`,
    );
    for (const size of sizes) assert.ok(size <= 390, sizes.join(' '));
  });

  for (const scheme of ['light', 'dark'] as const) {
    it(`has text that can be read in ${scheme} colours`, async () => {
      const rig = new DashboardRig(nodeNames(6), (from) => (from === 2 ? PARTLY : from === 4 ? BAD : GOOD));
      const page = await open(rig);
      await page.colours(scheme, 'reduce');
      await page.until("document.querySelectorAll('#worst-pairs tbody tr').length > 0");
      const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      assert.equal(ground, scheme === 'light' ? 'rgb(244, 246, 248)' : 'rgb(13, 17, 22)');
      assert.deepEqual(await page.evaluate(CONTRAST), []);
      assert.equal(
        await page.evaluate("getComputedStyle(document.getElementById('grid')).transitionDuration"),
        '0s',
      );
    });
  }

  it('keeps the colours that were chosen', async () => {
    const rig = new DashboardRig(nodeNames(3));
    const page = await open(rig);
    await page.colours('light');
    for (let i = 0; i < 2; i++) await page.evaluate("document.getElementById('theme').click()");
    const ground = 'getComputedStyle(document.body).backgroundColor';
    assert.equal(await page.evaluate(ground), 'rgb(13, 17, 22)');
    await page.goTo(rig.url);
    await page.until(painted);
    assert.equal(await page.evaluate(ground), 'rgb(13, 17, 22)');
  });
});
