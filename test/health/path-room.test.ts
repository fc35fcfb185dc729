import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { createProbeEngine, type ProbeEngine } from '../../probes/engine/index.ts';
import { silentLog } from '../../src/base/log.ts';
import {
  createHealth,
  createHealthMetrics,
  EngineProber,
  type Health,
  MtuWatch,
  systemClock,
} from '../../src/health/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';
import { element, FakeNodes } from './fakes.ts';

const ROOM = 24;
const PEERS = Array.from({ length: 30 }, (_, i) => element(`n${i}`, `10.9.0.${i + 1}`));

describe('more paths than the engine has room for', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('o');
  const nodes = new FakeNodes('n0', PEERS);
  const told: unknown[] = [];
  const note = (...line: readonly unknown[]): void => void told.push(line);
  const log = { ...silentLog, info: note, warn: note };
  let netnsFd = -1;
  let engine: ProbeEngine;
  let health: Health;
  let mtu: MtuWatch;

  before(async () => {
    const here = await lab.namespace('a');
    for (let i = 1; i <= PEERS.length; i++)
      await lab.ip('-n', here, 'address', 'add', `10.9.0.${i}/32`, 'dev', 'lo');
    netnsFd = openSync(lab.path(here), 'r');
    engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: ROOM, flows: 0 });
    const probers = [new EngineProber(engine, { host: 0 })];
    health = createHealth(
      { interval: { kind: 'fixed', ms: 100 } },
      { nodes, probers, clock: systemClock, log },
    );
    mtu = new MtuWatch({
      engine,
      origins: { host: 0 },
      clock: systemClock,
      trackers: () => health.trackers(),
    });
    await health.start();
    mtu.start();
  });

  after(async () => {
    await mtu.stop();
    await health.stop();
    closeSync(netnsFd);
    await lab.cleanUp();
  });

  it('leaves those that have room working, counts the others and says it', async () => {
    assert.equal(health.trackers().length, ROOM);
    await until(() => health.trackers().every(({ state }) => state === 'reachable'));
    const line = [
      { paths: ROOM, refused: PEERS.length - ROOM },
      'no room for more paths: some are not probed',
    ];
    assert.equal(told.filter((other) => isDeepStrictEqual(other, line)).length, 1, JSON.stringify(told));
    assert.ok(engine.self().refused >= PEERS.length - ROOM);
    const metrics = createHealthMetrics({
      health: () => health,
      engine: () => engine.self(),
      clock: systemClock,
    });
    assert.match(await metrics.text(), /^ciliate_health_paths_refused_total [1-9]/m);
    assert.match(
      await metrics.text(),
      new RegExp(`^ciliate_health_paths_unprobed ${PEERS.length - ROOM}$`, 'm'),
    );
  });

  it('measures no MTU without room for that, and measures it when there is', async () => {
    await until(() => engine.self().refused > PEERS.length);
    assert.equal(engine.self().paths, ROOM);
    assert.ok(health.trackers().every((tracker) => tracker.mtu === undefined));
  });

  it('opens what was refused once other paths are gone', async () => {
    const left = [...PEERS.slice(0, 1), ...PEERS.slice(ROOM)];
    nodes.set(left);
    await until(() => {
      const trackers = health.trackers();
      return trackers.length === left.length && trackers.every(({ state }) => state === 'reachable');
    });
    const line = [{ paths: left.length }, 'there is room for all paths again'];
    assert.ok(
      told.some((other) => isDeepStrictEqual(other, line)),
      JSON.stringify(told),
    );
    await until(() => health.trackers().some((tracker) => tracker.mtu?.bytes === 9000));
  });
});
