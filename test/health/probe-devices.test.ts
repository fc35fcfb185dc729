import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { EngineDevice } from '../../probes/engine/index.ts';
import { type Logger, silentLog } from '../../src/base/log.ts';
import { atOnce } from '../../src/base/slices.ts';
import { ProbeDevices } from '../../src/health/probe-devices.ts';
import { healthNode } from '../../src/health/targets.ts';
import { element } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

const NODES = [element('n1', '10.0.0.1'), element('n2', '10.0.0.2', '10.1.0.2'), element('n3', '10.0.0.3')];
const VIEW = { self: 'n1', nodes: NODES.map(healthNode), stale: undefined };

describe('devices of probes', () => {
  let clock: VirtualClock;
  /** What the kernel would say. */
  let routes: Map<string, number>;
  let names: Map<string, number>;
  let changed: boolean;
  let placed: (readonly number[])[];
  const peers: (readonly string[])[] = [];
  const warned: string[] = [];
  let devices: ProbeDevices;

  beforeEach(() => {
    clock = new VirtualClock();
    routes = new Map([
      ['10.0.0.1', 1],
      ['10.0.0.2', 4],
      ['10.0.0.3', 5],
    ]);
    names = new Map([['eth9', 9]]);
    changed = false;
    placed = [];
    peers.length = 0;
    warned.length = 0;
    const engine = {
      setDevices: (_origin: number, list: readonly number[]) => void placed.push(list),
      setPeers: (...lists: readonly (readonly string[])[]) => void peers.splice(0, 2, ...lists),
      self: () => ({ devices: [] as readonly EngineDevice[] }),
    };
    const kernel = {
      changed: () => changed,
      devices: (addresses: readonly string[]) => addresses.flatMap((address) => routes.get(address) ?? []),
      indexOf: (name: string) => names.get(name),
      nameOf: () => undefined,
      close: () => undefined,
    };
    const log = {
      ...silentLog,
      info: () => undefined,
      warn: (fields: { readonly devices?: readonly string[] }) => void warned.push(...(fields.devices ?? [])),
    } as unknown as Logger;
    devices = new ProbeDevices(
      { names: ['eth9'], sources: ['10.0.0.1', 'fd00::1'] },
      { engine, routes: kernel, clock, log },
    );
    devices.start();
  });

  it('are the loopback and the named ones before nodes are known, then those that routes lead to', () => {
    assert.deepEqual(placed, [[1, 9]]);
    atOnce(devices.followRoutes(VIEW));
    assert.deepEqual(placed.at(-1), [1, 9, 4, 5]);
  });

  it('are asked for again when routes or links have changed, and only then', async () => {
    atOnce(devices.followRoutes(VIEW));
    await clock.pass(10_000);
    assert.equal(placed.length, 2);
    routes.set('10.0.0.3', 7);
    names.delete('eth9');
    changed = true;
    await clock.pass(1000);
    assert.deepEqual(placed.at(-1), [1, 4, 7]);
  });

  it('that were named and are not there are told once, and again when they went', async () => {
    assert.deepEqual(warned, []);
    changed = true;
    names.delete('eth9');
    await clock.pass(5000);
    assert.deepEqual(warned, ['eth9']);
    names.set('eth9', 9);
    await clock.pass(5000);
    names.delete('eth9');
    await clock.pass(5000);
    assert.deepEqual(warned, ['eth9', 'eth9']);
  });

  it('let the responder answer the other nodes at our addresses, and nobody else', () => {
    devices.followPeers(VIEW);
    assert.deepEqual(peers, [
      ['10.0.0.2', '10.0.0.3'],
      ['10.0.0.1', 'fd00::1'],
    ]);
  });

  it('are not looked at any more after the stop', async () => {
    devices.stop();
    changed = true;
    await clock.pass(10_000);
    assert.equal(placed.length, 1);
  });
});
