import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PathSeries } from '../../src/health/dashboard/series.ts';
import type { PathWindow } from '../../src/model/health.ts';
import { VirtualClock } from '../health/virtual-clock.ts';

const path = { peer: 'n2', kind: 1, family: 4, address: '10.0.0.2', primary: true } as const;

function windowOf(sent: number, answered: number, p50: number): PathWindow {
  const rttNs = answered === 0 ? undefined : { min: p50, p50, p99: 2 * p50, max: 3 * p50 };
  return {
    spanMs: 60_000,
    sent,
    answered,
    late: 0,
    duplicate: 0,
    reordered: 0,
    rttNs,
    residenceNs: undefined,
  };
}

describe('the hour that is kept of a path', () => {
  it('has a point each 15 s, gaps where nothing was measured, and no loss that becomes none', async () => {
    const clock = new VirtualClock();
    let window = windowOf(10_000, 9999, 123_456);
    let peers = ['n2'];
    const series = new PathSeries({ peers: () => peers, reports: () => [{ path, window }], clock });
    series.start();
    await clock.pass(30_000);
    window = windowOf(60, 0, 0);
    await clock.pass(15_000);
    peers = [];
    await clock.pass(30_000);
    peers = ['n2'];
    window = windowOf(0, 0, 0);
    await clock.pass(15_000);
    series.stop();
    const [found] = series.answer('n2').paths;
    assert.equal(found?.kind, 'host-host/icmp');
    const [p50, p99, loss] = [found['p50-ns'], found['p99-ns'], found.loss].map((points) => points.slice(-7));
    assert.equal(p50?.length, 7);
    assert.equal(found['p50-ns'].length, 240);
    const measured = p50?.filter((value) => value !== null) ?? [];
    assert.ok(measured.length >= 2);
    for (const value of measured) assert.ok(Math.abs(value - 123_456) < 0.001 * 123_456, String(value));
    assert.ok(Math.abs((p99?.[0] ?? 0) - 246_912) < 250);
    assert.ok((loss?.[0] ?? 0) > 0 && (loss?.[0] ?? 0) < 0.01, 'one in ten thousand is not nothing');
    assert.equal(loss?.filter((value) => value === 1).length, 1, 'one point of silence');
    assert.equal(loss?.at(-1), null, 'nothing was sent');
    assert.deepEqual(found['p50-ns'].slice(0, 200), Array(200).fill(null));
  });

  it('begins anew after an hour, and forgets paths that are gone for one', async () => {
    const clock = new VirtualClock();
    let peers = ['n2'];
    const window = windowOf(60, 60, 50_000);
    const series = new PathSeries({ peers: () => peers, reports: () => [{ path, window }], clock });
    series.start();
    await clock.pass(2 * 3_600_000);
    assert.ok(series.answer('n2').paths[0]?.['p50-ns'].every((value) => value !== null));
    peers = [];
    await clock.pass(3_700_000);
    assert.equal(series.size, 0);
    series.stop();
  });
});
