/**
 * The exact MTU of a path (H8): round trips of the ladder beside tracepath and beside a search by halves with ping, on a
 * path of 20 ms where the router says "too big" and where it does not; then how soon a black hole is flagged after it
 * appears, and what the watch over it sends while all is well, with 10 and 100 paths.
 *
 * Aims: <= 2 round trips and one batch (a turn of the engine, 20 ms); flagged <= 2 s; 0.1 % of the bytes of all probes.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { loadavg, setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { createProbeEngine, type ProbeEngine } from '../probes/engine/index.ts';
import type { Instant } from '../src/health/clock.ts';
import { EngineProber, MtuWatch, systemClock } from '../src/health/index.ts';
import { MtuLadder } from '../src/health/mtu/ladder.ts';
import { PathBook } from '../src/health/path-book.ts';
import type { PathTracker } from '../src/health/state/path-tracker.ts';
import { missingForNamespaces } from '../src/lab/requirements.ts';
import { PROBE_KINDS, probePathKey } from '../src/model/health.ts';
import { benchTargets } from './support/engine-lab.ts';
import { NICE } from './support/load.ts';
import { interleave, median, report, type Variant } from './support/measure.ts';
import { MtuLab } from './support/mtu-lab.ts';

const RTT_MS = 20;
const TURN_MS = 20;
const NARROW = 1437;
const WIDE = 9000;
const LEAST = 576;
const TARGET = '10.77.0.1';
const ROUNDS = 5;
const HOLES = 3;
const IDLE_S = 12;
const PATHS = [10, 100];
const LOOK_MS = 5;
const LIMIT_MS = 60_000;
/** tracepath asks 30 hops three times a second each where nobody answers. */
const TRACE_LIMIT_MS = 10_000;
/** ICMP echo of the least size, with Ethernet's header. */
const SMALL_BYTES = 74;
const KIND = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/icmp');

const lab = new MtuLab(RTT_MS);
const now = (): Instant => ({ nowMs: systemClock.nowMs(), wallMs: systemClock.wallMs() });

interface Found {
  readonly mtu: number | undefined;
  readonly ms: number;
}

async function timed(find: () => Promise<number | undefined>): Promise<Found> {
  await lab.forget();
  const begin = performance.now();
  const mtu = await find();
  return { mtu, ms: performance.now() - begin };
}

async function byLadder(ladder: MtuLadder): Promise<number | undefined> {
  const found = await ladder.measure({ address: TARGET, origin: 0 }, 4);
  return found.kind === 'measured' ? found.mtu : undefined;
}

async function byTracepath(): Promise<number | undefined> {
  const words = ['timeout', String(TRACE_LIMIT_MS / 1000), 'tracepath', '-n', TARGET];
  const text = await lab.run(words, 2 * TRACE_LIMIT_MS);
  const mtu = /Resume: pmtu (\d+)/.exec(text)?.[1];
  return mtu === undefined ? undefined : Number(mtu);
}

/** One ping a step, which waits a second for an answer; undefined: none of the least size. */
async function byHalves(): Promise<number | undefined> {
  let [passes, fails] = [LEAST, WIDE + 1];
  while (fails - passes > 1) {
    const bytes = (passes + fails) >> 1;
    const words = ['ping', '-n', '-M', 'do', '-c', '1', '-W', '1', '-s', String(bytes - 28), TARGET];
    if (/ 1 received/.test(await lab.run(words))) passes = bytes;
    else fails = bytes;
  }
  return passes;
}

async function exact(engine: ProbeEngine): Promise<void> {
  const ladder = new MtuLadder({ engine, clock: systemClock });
  engine.onEvents((events) => ladder.take(events));
  const finders = {
    'the ladder': () => byLadder(ladder),
    tracepath: byTracepath,
    'halving with ping': byHalves,
  };
  for (const says of [true, false]) {
    await lab.narrow(NARROW, says);
    const found = new Map<string, (number | undefined)[]>(Object.keys(finders).map((name) => [name, []]));
    const variants = Object.entries(finders).map(([name, find]): Variant => {
      const run = async (): Promise<number> => {
        const { mtu, ms } = await timed(find);
        found.get(name)?.push(mtu);
        return ms;
      };
      return { name, run };
    });
    const times = await interleave(variants, says ? ROUNDS : HOLES);
    const ms = (name: string): number => median(times.get(name) ?? []);
    const right = (name: string): number =>
      ((found.get(name) ?? []).filter((mtu) => mtu === NARROW).length / (found.get(name)?.length ?? 1)) * 100;
    const rows = Object.keys(finders).flatMap((name) => [
      { what: `${name}: exact to the byte`, value: right(name), unit: '% of runs' },
      { what: `${name}: time`, value: ms(name), unit: 'ms' },
      { what: `${name}: in round trips`, value: ms(name) / RTT_MS, unit: 'RTT' },
    ]);
    report(
      `MTU of ${NARROW} on a path of ${RTT_MS} ms, the router ${says ? 'says "too big"' : 'says nothing: a black hole'}`,
      [
        ...rows.map((row) =>
          row.what === 'the ladder: time' ? { ...row, aim: `<= ${2 * RTT_MS + TURN_MS}` } : row,
        ),
        ...['tracepath', 'halving with ping'].map((name) => ({
          what: `${name} / the ladder`,
          value: ms(name) / ms('the ladder'),
          unit: 'x',
        })),
      ],
    );
  }
}

/** Waits until all of them are, or are not, a black hole. @returns ms until the first one and until the last one */
async function flagged(
  trackers: readonly PathTracker[],
  isHole: boolean,
): Promise<readonly [number, number]> {
  const begin = performance.now();
  let firstMs: number | undefined;
  for (;;) {
    const count = trackers.filter(({ mtu }) => mtu?.blackHole === isHole).length;
    const passedMs = performance.now() - begin;
    if (count > 0) firstMs ??= passedMs;
    if (count === trackers.length) return [firstMs ?? passedMs, passedMs];
    if (passedMs > LIMIT_MS) throw new Error(`${count} of ${trackers.length} after ${LIMIT_MS} ms`);
    await delay(LOOK_MS);
  }
}

async function watch(engine: ProbeEngine, count: number): Promise<void> {
  await lab.device(1500);
  await lab.narrow(1500, true);
  const prober = new EngineProber(engine, { host: 0 });
  const book = new PathBook([prober], now, () => undefined);
  const paths = benchTargets(count).map((address, i) => {
    const path = { peer: `node-${i}`, kind: KIND, family: 4, address, primary: true } as const;
    return [probePathKey(path), { path, periodMs: 1000 }] as const;
  });
  const trackers = (): readonly PathTracker[] => book.trackers();
  const mtu = new MtuWatch({ engine, origins: { host: 0 }, clock: systemClock, trackers });
  book.follow(new Map(paths));
  mtu.start();
  const tick = setInterval(() => book.tick(now()), 1000);
  try {
    await flagged(trackers(), false);
    await lab.say(false);
    const idle = await idleBytes();
    const all = await holes(trackers(), (isHole) => lab.narrow(isHole ? NARROW : 1500, false));
    const [one] = trackers().slice(-1);
    const only = await holes(one === undefined ? [] : [one], (isHole) =>
      lab.hole(one?.path.address ?? '', isHole ? NARROW : undefined),
    );
    const small = count * SMALL_BYTES;
    report(`The watch over ${count} paths, each probed once a second`, [
      { what: 'hole of all paths: first one flagged', value: all.firstMs, unit: 'ms', aim: '<= 2000' },
      { what: 'hole of all paths: last one flagged', value: all.lastMs, unit: 'ms' },
      { what: 'hole of one path: flagged', value: only.lastMs, unit: 'ms', aim: '<= 2000' },
      { what: 'bytes of large packets while all is well', value: idle - small, unit: 'B/s' },
      { what: 'of all probe bytes', value: (1 - small / idle) * 100, unit: '%', aim: '<= 0.1' },
      { what: 'of a link of 1 Gbit/s', value: ((idle - small) / 1.25e8) * 100, unit: '%' },
    ]);
  } finally {
    clearInterval(tick);
    await mtu.stop();
    book.follow(new Map());
  }
}

/** Bytes a second that leave. */
async function idleBytes(): Promise<number> {
  await delay(1000);
  const [before, begin] = [await lab.sentBytes(), performance.now()];
  await delay(IDLE_S * 1000);
  return ((await lab.sentBytes()) - before) / ((performance.now() - begin) / 1000);
}

async function holes(
  trackers: readonly PathTracker[],
  set: (isHole: boolean) => Promise<void>,
): Promise<{ readonly firstMs: number; readonly lastMs: number }> {
  const times: (readonly [number, number])[] = [];
  for (let i = 0; i < HOLES; i++) {
    // Not in step with the canaries.
    await delay(Math.random() * 1000);
    await set(true);
    times.push(await flagged(trackers, true));
    await set(false);
    await flagged(trackers, false);
  }
  return { firstMs: median(times.map(([first]) => first)), lastMs: median(times.map(([, last]) => last)) };
}

const needed = [
  ...missingForNamespaces(),
  ...['tracepath', 'ping', 'cc']
    .filter((name) => !existsSync(`/usr/bin/${name}`))
    .map((name) => `${name} (Debian)`),
];
if (needed.length > 0) {
  console.error(`bench health-mtu skipped: needs ${needed.join(', ')}`);
} else {
  let engine: ProbeEngine | undefined;
  let netnsFd = -1;
  setPriority(NICE);
  try {
    await lab.setUp();
    netnsFd = openSync(lab.here, 'r');
    engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 1024 });
    await engine.start();
    await exact(engine);
    for (const count of PATHS) await watch(engine, count);
    console.log(`\nload average of the last minute: ${loadavg()[0]?.toFixed(1)}`);
  } finally {
    await engine?.stop();
    if (netnsFd >= 0) closeSync(netnsFd);
    await lab.cleanUp();
  }
}
