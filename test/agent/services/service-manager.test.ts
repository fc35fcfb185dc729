import assert from 'node:assert/strict';
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { SystemError } from '../../../src/base/errors.ts';
import { until } from '../agent-fixture.ts';
import { objectService, ServiceFixture, spec } from './service-fixture.ts';

const FULL = new SystemError('no room', { code: 'DATAPATH_FULL' });
const HELD_1 = '1 10.96.0.1:80/TCP > 10.0.0.1:8080 active';
const HELD_2 = '2 10.96.0.2:80/TCP > 10.0.0.2:8080 active';

describe('the services of a node', () => {
  it('of the API are in the datapath when the call is answered, with the id that was asked for or a free one', async () => {
    await using fixture = new ServiceFixture();
    const manager = await fixture.start();
    const first = await manager.put(7, spec('10.96.0.7', ['10.0.0.7']));
    const second = await manager.put(0, spec('10.96.0.8', []));
    assert.deepEqual([first.created, second.created], [true, true]);
    assert.deepEqual(fixture.held(), ['7 10.96.0.7:80/TCP > 10.0.0.7:8080 active', '8 10.96.0.8:80/TCP >']);
    const again = await manager.put(0, spec('10.96.0.7', ['10.0.0.9']));
    assert.deepEqual([again.created, again.entry.service.id], [false, 7]);
    await manager.delete(8);
    assert.deepEqual(fixture.held(), ['7 10.96.0.7:80/TCP > 10.0.0.9:8080 active']);
    assert.deepEqual(manager.events, { add: 2, update: 1, delete: 1 });
    assert.deepEqual(
      fixture.events.map(({ subtype }) => subtype),
      ['Service upserted', 'Service upserted', 'Service upserted', 'Service deleted'],
    );
    assert.deepEqual(fixture.events[0]?.message, {
      id: 7,
      'frontend-address': { ip: '10.96.0.7', port: 80 },
      'backend-addresses': [{ ip: '10.0.0.7', port: 8080 }],
      ...{ type: 'ClusterIP', name: '', namespace: '', 'traffic-policy': 'Cluster' },
    });
    assert.deepEqual(fixture.events[3]?.message, { id: 8 });
  });

  it('of objects follow these, write nothing twice, and cannot be changed by the API', async () => {
    await using fixture = new ServiceFixture();
    const manager = await fixture.start();
    const web = objectService('web', '10.96.0.1', ['10.0.0.1']);
    await manager.setObjects([web, objectService('db', '10.96.0.2', ['10.0.0.2'])]);
    assert.deepEqual(fixture.held(), [HELD_1, HELD_2]);
    await assert.rejects(manager.put(0, spec('10.96.0.1', [])), { status: 409, message: /default\/web/ });
    await assert.rejects(manager.delete(1), { status: 409, message: /default\/web/ });
    await manager.setObjects([{ ...web, backends: [] }]);
    assert.deepEqual(fixture.held(), ['1 10.96.0.1:80/TCP >']);
    await manager.setObjects([{ ...web, backends: [] }]);
    assert.deepEqual(manager.events, { add: 2, update: 1, delete: 1 });
  });

  it('of two objects with one frontend the first counts, and the API before both', async () => {
    await using fixture = new ServiceFixture();
    const manager = await fixture.start();
    await manager.put(5, spec('10.96.0.1', ['10.0.0.9']));
    const both = [
      objectService('a', '10.96.0.1', ['10.0.0.1']),
      objectService('b', '10.96.0.1', ['10.0.0.2']),
    ];
    await manager.setObjects(both);
    assert.deepEqual(fixture.held(), ['5 10.96.0.1:80/TCP > 10.0.0.9:8080 active']);
    await manager.delete(5);
    assert.deepEqual(fixture.held(), ['5 10.96.0.1:80/TCP > 10.0.0.1:8080 active']);
    assert.equal(manager.get(5).service.name, 'a');
    await manager.setObjects(both.slice(1));
    assert.equal(manager.get(5).service.name, 'b');
  });

  it('keep their ids over a restart, and what nobody wants any more goes only when all is known', async () => {
    await using fixture = new ServiceFixture();
    const before = await fixture.start();
    const services = ['10.96.0.1', '10.96.0.2', '10.96.0.3'].map((ip) =>
      objectService('s', ip, ['10.0.0.1']),
    );
    await before.setObjects(services);
    await before.put(0, spec('10.96.0.4', [], { flags: { affinityTimeout: 30, name: 'mine' } }));
    const kept = fixture.held();
    const manager = await fixture.start();
    assert.equal(manager.get(4).service.affinitySeconds, 30);
    assert.equal(manager.get(4).service.name, 'mine');
    await manager.setObjects(services.slice(1).reverse());
    assert.deepEqual(fixture.held(), kept);
    await manager.allKnown();
    assert.deepEqual(fixture.held(), kept.slice(1));
    assert.equal((await manager.put(0, spec('10.96.0.9', []))).entry.service.id, 5, 'not yet the free one');
    await manager.put(1, spec('10.96.0.10', []));
  });

  it('tell the datapath of backends that take no new flows again after a restart', async () => {
    await using fixture = new ServiceFixture();
    const backends = [{ ip: '10.0.0.1', port: 8080, state: 'terminating' }];
    await (await fixture.start()).put(1, { ...spec('10.96.0.1', []), 'backend-addresses': backends });
    // As the datapath reads them back.
    const [[key, held] = assert.fail()] = fixture.kernel.services;
    fixture.kernel.services.set(key, { ...held, backends: [] });
    await fixture.start();
    await until('written anew', () => fixture.held()[0] === '1 10.96.0.1:80/TCP > 10.0.0.1:8080 terminating');
  });

  it('that do not fit are told, kept and tried again, while others are written', async () => {
    await using fixture = new ServiceFixture();
    const manager = await fixture.start();
    fixture.datapath.failures.set('upsertService', FULL);
    await assert.rejects(manager.put(1, spec('10.96.0.1', ['10.0.0.1'])), {
      status: 500,
      message: 'service 1 is kept, and tried again: no room',
    });
    assert.equal(manager.get(1).realized, undefined);
    assert.deepEqual(manager.failed, ['10.96.0.1:80/TCP']);
    assert.match(manager.problems.join(), /^1 services are not in the datapath/);
    const failing = fixture.controllers.reports().find(({ name }) => name === 'sync-services');
    assert.match(failing?.lastFailureMessage ?? '', /10\.96\.0\.1:80\/TCP: no room/);
    fixture.datapath.failures.clear();
    await until('it is tried again', () => fixture.held().length === 1);
    await until('and no problem any more', () => manager.problems.length === 0);
    fixture.datapath.failures.set('deleteService', FULL);
    await assert.rejects(manager.delete(1), { status: 500, message: /given up, and tried again/ });
    fixture.datapath.failures.clear();
    await until('it went', () => fixture.held().length === 0);
    assert.deepEqual(manager.list(), []);
  });

  it('that cannot be kept on disk change nothing', async () => {
    await using fixture = new ServiceFixture();
    const manager = await fixture.start();
    await manager.put(1, spec('10.96.0.1', ['10.0.0.1']));
    rmSync(fixture.folder, { recursive: true });
    await assert.rejects(manager.put(2, spec('10.96.0.2', [])), { code: 'STATE_UNWRITABLE' });
    await assert.rejects(manager.delete(1), { code: 'STATE_UNWRITABLE' });
    assert.deepEqual(
      manager.list().map(({ service }) => service.id),
      [1],
    );
    assert.deepEqual(fixture.held(), [HELD_1]);
    await manager.setObjects([objectService('web', '10.96.0.3', [])]);
    assert.equal(manager.list().at(-1)?.service.id, 3, 'the id went with it, and is not the next one');
  });

  it('are kept in a file that nobody else reads', async () => {
    await using fixture = new ServiceFixture();
    await (await fixture.start()).put(1, spec('10.96.0.1', []));
    assert.equal(statSync(fixture.file).mode & 0o007, 0);
  });

  for (const [what, text] of [
    ['no JSON', '{'],
    ['no service', '{"services": [{"id": 1}]}'],
    [
      'one id twice',
      JSON.stringify({ services: [1, 1].map((id, i) => ({ id, ...spec(`10.96.0.${i}`, []) })) }),
    ],
  ] as const) {
    it(`go on as the datapath has them where the file was damaged (${what}), and that is told`, async () => {
      await using fixture = new ServiceFixture();
      const before = await fixture.start();
      await before.put(1, spec('10.96.0.1', ['10.0.0.1'], { flags: { name: 'lost' } }));
      await before.setObjects([objectService('web', '10.96.0.2', ['10.0.0.2'])]);
      writeFileSync(fixture.file, text);
      const manager = await fixture.start();
      assert.match(manager.problems.join(), /services\.json is corrupt/);
      await manager.setObjects([objectService('web', '10.96.0.2', ['10.0.0.2'])]);
      await manager.allKnown();
      assert.deepEqual(fixture.held(), [HELD_1, HELD_2]);
      assert.deepEqual(
        manager.list().map(({ service }) => service.name),
        ['', 'web'],
      );
      assert.equal(readdirSync(fixture.folder).length, 2, 'the damaged file is kept beside the new one');
      const next = await fixture.start();
      await next.setObjects([]);
      await next.allKnown();
      assert.deepEqual(fixture.held(), [HELD_1], 'it is the API’s from now on');
      await next.delete(1);
    });
  }
});
