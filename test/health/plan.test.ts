import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_PATHS_MAX } from '../../probes/engine/constants.ts';
import { type PlannedPath, planPaths } from '../../src/health/plan/planner.ts';
import { healthNode } from '../../src/health/targets.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { element } from './fakes.ts';

const HTTP_PER_SECOND = 20;

/** @param alone nodes besides that have no health endpoint */
function planned(count: number, canProbe: (kind: string) => boolean = () => true, alone = 0): PlannedPath[] {
  const nodes = Array.from({ length: count + alone }, (_, i) => {
    const tail = `${i >> 8}.${i & 255}`;
    return healthNode(element(`n${i}`, `10.0.${tail}`, i < count ? `10.1.${tail}` : undefined));
  });
  const plan = planPaths(nodes, 'n0', { periodMs: 1000 }, ({ kind }) => {
    return canProbe(PROBE_KINDS[kind]?.name ?? '');
  });
  return [...plan.values()];
}

const isHttp = ({ path }: PlannedPath): boolean => PROBE_KINDS[path.kind]?.responder === 'http';
const isAgent = ({ path }: PlannedPath): boolean =>
  PROBE_KINDS[path.kind]?.name === 'host-host/http' && path.peer !== 'n0';
const rate = (paths: readonly PlannedPath[]): number =>
  paths.reduce((sum, { periodMs }) => sum + 1000 / periodMs, 0);
const slowest = (paths: readonly PlannedPath[]): number =>
  paths.reduce((most, { periodMs }) => Math.max(most, periodMs), 0);

/** Echoes of the kernels, from the host: what tells first that a node is gone. */
const isFastEcho = ({ path }: PlannedPath): boolean => {
  const kind = PROBE_KINDS[path.kind];
  return kind?.responder === 'icmp' && kind.from === 'host';
};

describe('the plan of probes', () => {
  it('sends every one of 2,000 addresses an echo a second', () => {
    const echoes = planned(1000).filter(isFastEcho);
    assert.equal(new Set(echoes.map(({ path }) => path.address)).size, 2000);
    assert.deepEqual([...new Set(echoes.map(({ periodMs }) => periodMs))], [1000]);
  });

  it('sends the addresses of twenty peers an echo a second when there is one address more, and a hundred a second to all others', () => {
    const echoes = planned(1000, () => true, 1).filter(
      (planned) => isFastEcho(planned) && planned.path.peer !== 'n0',
    );
    const [often, swept] = [
      echoes.filter(({ periodMs }) => periodMs === 1000),
      echoes.filter(({ periodMs }) => periodMs !== 1000),
    ];
    assert.equal(new Set(often.map(({ path }) => path.peer)).size, 20);
    assert.equal(often.length + swept.length, 1999);
    assert.deepEqual([...new Set(swept.map(({ periodMs }) => periodMs))], [2001 * 10]);
  });

  it('has no more paths of packets than the engine has room for, with 5,000 nodes of both families and health endpoints', () => {
    const ip = (family: string, tail: string): { enabled: boolean; ip: string } => {
      return { enabled: true, ip: `${family}${tail}` };
    };
    const nodes = Array.from({ length: 5000 }, (_, i) =>
      healthNode({
        name: `n${i}`,
        'primary-address': { ipv4: ip('10.0.', `${i >> 8}.${i & 255}`), ipv6: ip('fd00::', i.toString(16)) },
        'secondary-addresses': null,
        'health-endpoint-address': {
          ipv4: ip('10.128.', `${i >> 8}.${i & 255}`),
          ipv6: ip('fd01::', i.toString(16)),
        },
      }),
    );
    const plan = [...planPaths(nodes, 'n0', { periodMs: 1000 }, () => true).values()];
    const packets = plan.filter((planned) => !isHttp(planned));
    // Five kinds over both families; what a node sends to itself passes no program that answers `echo`.
    assert.equal(packets.length, 5000 * 5 * 2 - 2);
    assert.ok(packets.length <= DEFAULT_PATHS_MAX);
  });

  it('asks the agent of every peer once a second in a small cluster, and all else by HTTP every ten seconds', () => {
    const http = planned(5).filter(isHttp);
    assert.deepEqual([...new Set(http.filter(isAgent).map(({ periodMs }) => periodMs))], [1000]);
    const rest = http.filter((path) => !isAgent(path));
    assert.deepEqual([...new Set(rest.map(({ periodMs }) => periodMs))], [10_000]);
  });

  for (const count of [2, 10, 64, 1000, 3000]) {
    it(`keeps the budget of HTTP with ${count} nodes`, () => {
      const http = planned(count).filter(isHttp);
      assert.ok(rate(http) <= HTTP_PER_SECOND * 1.001, String(rate(http)));
    });
  }

  it('asks the agents of the peers that it observes every few seconds in a large cluster, all others in a sweep', () => {
    const agents = planned(3000).filter(isAgent);
    const often = agents.filter(({ periodMs }) => periodMs <= 5000);
    assert.ok(often.length >= 15 && often.length <= 20, String(often.length));
    assert.equal(agents.length, 2999);
  });

  it('leaves the whole budget to the agents where nothing else is asked by HTTP', () => {
    const agents = planned(101, (kind) => kind === 'host-host/http' || kind === 'host-host/icmp').filter(
      isAgent,
    );
    const ofOthers = agents.filter(({ path }) => path.peer !== 'n0');
    assert.ok(slowest(ofOthers) <= 10_000, String(slowest(ofOthers)));
  });
});
